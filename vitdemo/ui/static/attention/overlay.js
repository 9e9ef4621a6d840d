// A map over the photo, pixel by pixel as the downloads draw it: a pixel takes the colour of the map where its centre lies on the grid.
import { tableOf } from "./heat.js";
import { columns, rows, told } from "./state.js";

const DIMMED = Math.round(256 * 0.45); // outside the crop, under a flat map
const EXPONENT = 0.7; // of the normalised value, in the opacity of a map that is painted with light

// How much of which patches in a line goes into each point: Keys's cubic convolution, or the one patch the point lies in.
function sampling(positions, count, smooth) {
  const taps = smooth ? 4 : 1;
  const places = new Int32Array(positions.length * taps);
  const shares = new Float32Array(positions.length * taps);
  positions.forEach((position, point) => {
    if (!smooth) {
      places[point] = Math.min(count - 1, Math.max(0, Math.floor(position)));
      shares[point] = 1;
      return;
    }
    const first = Math.floor(position - 0.5);
    const offset = position - 0.5 - first;
    for (let tap = 0; tap < 4; tap++) {
      const away = Math.abs(offset - (tap - 1));
      const near = (1.5 * away - 2.5) * away ** 2 + 1;
      const far = ((-0.5 * away + 2.5) * away - 4) * away + 2;
      places[4 * point + tap] = Math.min(count - 1, Math.max(0, first + tap - 1));
      shares[4 * point + tap] = away <= 1 ? near : far;
    }
  });
  return { taps, places, shares };
}

// The photo's pixels at a size, bare and with what lies outside the crop grey (or darker, for a flat map), and where the crop and the patches
// lie on them.
export function prepare(image, width, height, flat = false) {
  const { resized, offset, patch: side, grid } = told.geometry;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const bare = context.getImageData(0, 0, width, height);
  const edge = (place, axis, length) => ((place + offset[axis]) * length) / resized[axis];
  const crop = told.geometry.grid.map((count, axis) => count * side[1 - axis]); // height, width
  const left = Math.max(0, Math.round(edge(0, 0, width)));
  const top = Math.max(0, Math.round(edge(0, 1, height)));
  const right = Math.min(width, Math.round(edge(crop[1], 0, width)));
  const bottom = Math.min(height, Math.round(edge(crop[0], 1, height)));
  const points = (from, to, axis, length) =>
    Array.from({ length: to - from }, (_, index) => (((from + index + 0.5) * resized[axis]) / length - offset[axis]) / side[axis]);
  const seen = { left, top, right, bottom, x: points(left, right, 0, width), y: points(top, bottom, 1, height) };
  const drawn = new ImageData(new Uint8ClampedArray(bare.data), width, height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      if (x >= left && x < right && y >= top && y < bottom) continue;
      const [red, green, blue] = bare.data.subarray(at, at + 3);
      const grey = (77 * red + 150 * green + 29 * blue) >> 8;
      drawn.data.set(flat ? [red, green, blue].map((channel) => (channel * DIMMED) >> 8) : [grey, grey, grey], at);
    }
  }
  const both = (smooth) => ({ across: sampling(seen.x, grid[1], smooth), down: sampling(seen.y, grid[0], smooth) });
  return { width, height, bare, drawn, seen, true: both(true), false: both(false) };
}

// Lay a map over prepared pixels, in place.
export function overlay(prepared, values, [low, high], look) {
  const { width, bare, drawn, seen } = prepared;
  const { across, down } = prepared[look.smooth];
  const [gridRows, gridColumns] = told.geometry.grid;
  const scale = high > low ? 255 / (high - low) : 0;
  const wide = seen.right - seen.left;
  const lines = Array.from({ length: gridRows }, (_, row) => {
    const line = new Float32Array(wide);
    for (let x = 0; x < wide; x++) {
      let value = 0;
      for (let tap = 0; tap < across.taps; tap++) {
        value += across.shares[across.taps * x + tap] * ((values[row * gridColumns + across.places[across.taps * x + tap]] - low) * scale);
      }
      line[x] = value;
    }
    return line;
  });
  const alphas = alphasOf(look);
  const table = Uint16Array.from(tableOf(look.colours), (value, index) => value * alphas[Math.floor(index / 3)] + 128);
  const level = new Float32Array(wide);
  for (let y = seen.top; y < seen.bottom; y++) {
    level.fill(0);
    for (let tap = 0; tap < down.taps; tap++) {
      const at = down.taps * (y - seen.top) + tap;
      const line = lines[down.places[at]];
      const share = down.shares[at];
      for (let x = 0; x < wide; x++) level[x] += share * line[x];
    }
    let at = 4 * (y * width + seen.left);
    for (let x = 0; x < wide; x++, at += 4) {
      const value = level[x];
      const place = value <= 0 ? 0 : value >= 255 ? 255 : (value + 0.5) | 0;
      const [entry, under] = [3 * place, 256 - alphas[place]];
      drawn.data[at] = (table[entry] + bare.data[at] * under) >> 8;
      drawn.data[at + 1] = (table[entry + 1] + bare.data[at + 1] * under) >> 8;
      drawn.data[at + 2] = (table[entry + 2] + bare.data[at + 2] * under) >> 8;
    }
  }
  return drawn;
}

// The prepared pixels at another size, the crop's longer side in pixels.
export function miniature(prepared, image, side) {
  const { left, right, top, bottom } = prepared.seen;
  const scale = Math.min(2, side / Math.max(right - left, bottom - top));
  return prepare(image, Math.round(prepared.width * scale), Math.round(prepared.height * scale));
}

// A map over the crop alone, on a canvas that takes its size.
export function paintCrop(canvas, prepared, values, ends, look) {
  const drawn = overlay(prepared, values, ends, look);
  const { left, top, right, bottom } = prepared.seen;
  [canvas.width, canvas.height] = [right - left, bottom - top];
  canvas.getContext("2d").putImageData(drawn, -left, -top);
}

// The opacity of each of the 256 levels, in 256ths: the same everywhere, or following the value (for a difference, its distance from nought).
export function alphasOf({ colours, opacity, flat }) {
  return Uint16Array.from({ length: 256 }, (_, level) => {
    const strength = colours === "coolwarm" ? (Math.abs(2 * level - 255) - 1) / 254 : level / 255;
    return Math.round(256 * opacity * (flat ? 1 : strength ** EXPONENT));
  });
}

export function drawBar(canvas, table) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, 1);
  for (let x = 0; x < canvas.width; x++) {
    const entry = 3 * Math.round((255 * x) / (canvas.width - 1));
    image.data.set([table[entry], table[entry + 1], table[entry + 2], 255], 4 * x);
  }
  context.putImageData(image, 0, 0);
}

// A small map, a pixel for each patch.
export function drawTile(small, values, table, [low, high]) {
  const context = small.getContext("2d");
  const image = context.createImageData(small.width, small.height);
  const scale = high > low ? 255 / (high - low) : 0;
  values.forEach((value, index) => {
    const entry = 3 * Math.min(255, Math.max(0, Math.round((value - low) * scale)));
    image.data.set([table[entry], table[entry + 1], table[entry + 2], 255], 4 * index);
  });
  context.putImageData(image, 0, 0);
}

// A patch's edges on the photo: left, top, right, bottom.
export function boxOf(row, column) {
  const [left, top, right, bottom] = told.geometry.box;
  const [wide, high] = [(right - left) / columns(), (bottom - top) / rows()];
  return [left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high];
}
