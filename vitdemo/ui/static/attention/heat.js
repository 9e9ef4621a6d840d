// The numbers of a map, one a patch, and the colours they are drawn in.
import { ordinal } from "../lib/format.js";
import { classes, columns, kind, links, numbers, ofClass, patch, patches, placed, signed, told, view } from "./state.js";

// The map on show; null while its numbers are on their way.
export function heat(layer = view.layer) {
  const place = layer - 1;
  if (patch()) return linked(place, patch());
  if (view.method === "rollout") return numbers.rollout.subarray(place * patches(), layer * patches());
  if (view.method === "cls") return clsHeat(place, view.head);
  return classHeat(view.other === null ? "a" : view.part, layer);
}

// The map for the class, for the other one, or their difference.
export function classHeat(part, layer = view.layer) {
  const heats = (target) => classes.get(target)?.heats?.[kind()]?.subarray((layer - 1) * patches(), layer * patches());
  const [a, b] = [heats(view.target), heats(view.other)];
  if (part === "a") return a || null;
  if (part === "b") return b || null;
  return a && b ? a.map((value, index) => value - b[index]) : null;
}

export function clsHeat(place, head) {
  const start = place * told.heads * patches();
  const all = numbers.heads.subarray(start, start + told.heads * patches());
  if (head !== "mean" && head !== "max" && head !== "min") return all.subarray(head * patches(), (head + 1) * patches());
  const fused = new Float32Array(patches());
  for (let index = 0; index < fused.length; index++) {
    let value = all[index];
    for (let number = 1; number < told.heads; number++) {
      const next = all[number * patches() + index];
      value = head === "mean" ? value + next : head === "max" ? Math.max(value, next) : Math.min(value, next);
    }
    fused[index] = head === "mean" ? value / told.heads : value;
  }
  return fused;
}

// What a patch looks at, or is looked at by: a row, or a column, of the attention.
function linked(place, [row, column]) {
  const found = view.head === "mean" ? numbers : links.get(view.head);
  if (!found?.links) return null;
  const count = told.tokens;
  const token = told.prefix + row * columns() + column;
  const start = place * count;
  const answer = new Float32Array(patches());
  for (let index = 0; index < answer.length; index++) {
    const [from, to] = view.direction === "looks-at" ? [token, told.prefix + index] : [told.prefix + index, token];
    answer[index] = found.low[start + from] + found.links[(start + from) * count + to] * found.scale[start + from];
  }
  return answer;
}

// Which patches are artefacts at a layer: tokens that hold what the model computes about the whole photo, not what the patch shows.
export const artefacts = (layer = view.layer) => numbers.artefacts.subarray((layer - 1) * patches(), layer * patches());

// Whether the map on show is one of attention, which artefacts draw to themselves.
export const ofAttention = () => Boolean(patch()) || !ofClass();

// A map of attention with the mean of the nearest ordinary patches in place of each artefact.
export function withoutArtefacts(values, layer = view.layer) {
  const marked = artefacts(layer);
  if (view.artefacts || !values || !marked.includes(1)) return values;
  const ordinary = [...marked.keys()].filter((place) => !marked[place]);
  const away = (a, b) => (Math.floor(a / columns()) - Math.floor(b / columns())) ** 2 + ((a % columns()) - (b % columns())) ** 2;
  return values.map((value, place) => {
    if (!marked[place]) return value;
    const least = Math.min(...ordinary.map((other) => away(place, other)));
    const nearest = ordinary.filter((other) => away(place, other) === least);
    return nearest.reduce((sum, other) => sum + values[other], 0) / nearest.length;
  });
}

// The map of a layer as it is drawn: without artefacts, and where peaks are evened out, with nothing hotter than the 95th percentile.
export function drawable(layer = view.layer) {
  const values = ofAttention() ? withoutArtefacts(heat(layer), layer) : heat(layer);
  if (!view.even || signed() || !values) return values;
  const most = Float32Array.from(values).sort()[Math.floor(0.95 * (values.length - 1))];
  return values.map((value) => Math.min(value, most));
}

// The values at the ends of the colours; for a difference as far below nought as above it.
/** @returns {[number, number]} */
export function span(values, even = signed()) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!even) return [low, high];
  const reach = Math.max(-low, high);
  return [-reach, reach];
}

// The values at the ends of the colours of the map on show at a layer: its own, or those of all its layers.
/** @returns {[number, number]} */
export function ends(layer = view.layer) {
  if (!view.locked) return span(drawable(layer));
  const spans = Array.from({ length: told.layers }, (_, place) => span(drawable(place + 1)));
  return [Math.min(...spans.map(([low]) => low)), Math.max(...spans.map(([, high]) => high))];
}

// A patch's value in a map, and its place among all, the highest first.
export function reading(values, [row, column]) {
  const value = values[row * columns() + column];
  const rank = 1 + values.filter((other) => other > value).length;
  const marked = artefacts()[row * columns() + column] ? " · artefact" : "";
  return { value, text: `${placed([row, column])} · ${digits(value)} · ${ordinal(rank)} of ${values.length}${marked}` };
}

export const tableOf = (name) => numbers[`colours-${name}`];
export const colours = (even = signed()) => (even ? "coolwarm" : view.colours);

export const digits = (value) =>
  (value === 0 ? "0" : Math.abs(value) < 0.001 ? value.toExponential(1) : value.toPrecision(3)).replace("-", "−");
