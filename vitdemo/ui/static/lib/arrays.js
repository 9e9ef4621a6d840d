// Arrays of numbers that the server packs into one file (packing.py).
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array, float32: Float32Array };

// {name: typed array} from a buffer and its sections, {name: [type, first byte, length]}.
export function unpack(buffer, sections) {
  return Object.fromEntries(Object.entries(sections).map(([name, [type, start, length]]) => [name, new TYPES[type](buffer, start, length)]));
}

// The bytes of a text in base64.
export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
