// What a point's colour says: one of a few names, or a number.

export const GREY = "#8b95a3"; // noise, no label, and all that come after the commonest
export const NAMED = [
  "#0f8b8d", "#e4572e", "#5a60d6", "#e0a100", "#c2417c", "#3f9b45", "#8a5a3c", "#35a7e0", "#a03ec0", "#86a30f",
  "#d0342c", "#157a5a", "#f08a4b", "#4173b3", "#d977c0", "#6b7a12", "#b3742b", "#7a4fd0", "#1fa7a0", "#994455",
];
// viridis
const SCALE = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];
export const STEPS = 48; // of a scale of numbers

// A share from 0 to 1 as a colour of CSS.
export const scaleColour = (share) => {
  const place = Math.min(0.9999, Math.max(0, share)) * (SCALE.length - 1);
  const [low, high, part] = [SCALE[Math.floor(place)], SCALE[Math.floor(place) + 1], place % 1];
  return `rgb(${low.map((from, channel) => Math.round(from + (high[channel] - from) * part)).join(" ")})`;
};

/**
 * @typedef {object} Colours
 * @property {Uint16Array} codes one a point, its colour's place in the palette
 * @property {string[]} palette
 * @property {string[]} [names] of names: one a point
 * @property {{text: string, count: number, colour: string, name: string}[]} [entries] of names: the legend
 * @property {{low: string, high: string} | null} [range] of numbers: the ends of the scale, in words
 */

// names: one a point, "" for none → a colour for each point, and what the legend says: the commonest first, names beyond the colours as
// one.
// kept: the numbers of the names' colours so far: a name that comes again, on another layer's map, has the colour that it had.
/** @param {string[]} names @param {string} nothing @param {Map<string, number>} kept @returns {Colours} */
export function colourByName(names, nothing, kept) {
  const counts = new Map();
  for (const name of names) if (name) counts.set(name, (counts.get(name) || 0) + 1);
  const order = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const code = coloured(order.slice(0, NAMED.length).map(([name]) => name), kept);
  const codes = Uint16Array.from(names, (name) => code.get(name) || 0);
  const entries = order.map(([text, count]) => ({ text, count, colour: NAMED[(code.get(text) || 0) - 1] || GREY, name: text }));
  const none = names.length - order.reduce((sum, [, count]) => sum + count, 0);
  if (none) entries.push({ text: nothing, count: none, colour: GREY, name: "" });
  return { codes, palette: [GREY, ...NAMED], entries, names };
}

function coloured(names, kept) {
  const code = new Map();
  const free = new Set(NAMED.map((_, index) => index + 1));
  for (const name of names) if (free.delete(kept.get(name))) code.set(name, kept.get(name));
  for (const name of names) {
    if (code.has(name)) continue;
    const [next] = free;
    free.delete(next);
    code.set(name, next);
  }
  for (const [name, number] of code) kept.set(name, number);
  return code;
}

// values: one a point; NaN for none.
/** @param {Float32Array} values @param {(value: number) => string} text @returns {Colours} */
export function colourByValue(values, text) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const span = high - low || 1;
  const stepOf = (value) => Math.min(STEPS - 1, Math.floor(((value - low) / span) * STEPS));
  const codes = Uint16Array.from(values, (value) => (Number.isNaN(value) ? 0 : 1 + stepOf(value)));
  const palette = [GREY, ...Array.from({ length: STEPS }, (_, step) => scaleColour(step / (STEPS - 1)))];
  return { codes, palette, range: low <= high ? { low: text(low), high: text(high) } : null };
}
