// Curves over a training's epochs: losses, accuracy, and the learning rate of each layer.
import { make } from "../lib/dom.js";

const COLOURS = ["var(--bar)", "var(--warn)"];

/** @type {[string, [string, (epoch: any) => number, number?][], number | null][]} */
const CURVES = [
  ["Loss", [["train", (each) => each.loss], ["validation", (each) => each.validation_loss]], null],
  ["Validation accuracy and macro-F1", [["accuracy", (each) => each.accuracy], ["macro-F1", (each) => each.macro_f1]], 1],
];

export const curves = (epochs) => drawn(epochs).map((curve) => chart(curve, epochs));

// The curves that have lines: none of a single epoch, and no rates where they were zero at the end of every epoch.
export const drawn = (epochs) => (epochs.length > 1 ? [...CURVES, rates(epochs)].filter(([, lines]) => lines.length) : []);

// A line for each layer that learns, the topmost and the lowest by name.
/** @returns {[string, [string, (epoch: any) => number, number?][], number | null]} */
function rates(epochs) {
  const most = epochs.map((each) => Object.keys(each.rates)).reduce((one, other) => (other.length > one.length ? other : one));
  const peak = (name) => Math.max(...epochs.map((each) => each.rates[name] ?? 0));
  const layers = [...new Set(["head", ...most])].filter(peak);
  return ["Learning rate per layer (log scale)", layers.map((name) => [`${name} peak`, (each) => each.rates[name], peak(name)]), null];
}

// Lines are [name, value of an epoch, what the key tells]; those that tell a number of their own are drawn on a logarithmic scale.
/** @param {[string, [string, (epoch: any) => number, number?][], number | null]} curve */
function chart([title, lines, most], epochs) {
  const figure = make("figure", "curve");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 300 110");
  svg.setAttribute("role", "img");
  const logarithmic = lines[0].length > 2;
  const values = lines.map(([, value]) => epochs.map(value).map((each) => (Number.isFinite(each) && (each || !logarithmic) ? each : null)));
  const told = lines.map(([, , number], which) => number ?? values[which].at(-1));
  const known = values.flat().filter((each) => each !== null);
  const top = (most ?? 0) * 1.02 || Math.max(1e-12, ...known);
  const low = Math.min(top / 10, ...known);
  const height = (value) => (logarithmic ? Math.log(value / low) / Math.log(top / low) : value / top);
  const colour = (which) => `color-mix(in srgb, ${COLOURS[0]}, ${COLOURS[1]} ${(100 * which) / Math.max(1, lines.length - 1)}%)`;
  svg.setAttribute("aria-label", `${title}: ${lines.map(([name], index) => `${name} ${number(told[index])}`).join(", ")}`);
  const edge = epochs.findIndex((each) => each.stage === "blocks");
  const x = (index) => (300 * index) / (epochs.length - 1);
  if (edge > 0) svg.append(path(`M${x(edge - 0.5)} 0V110`, "var(--border-color-primary)"));
  values.forEach((line, which) => {
    const points = line.map((value, index) => (value === null ? "" : `${x(index).toFixed(1)} ${(106 - 102 * height(value)).toFixed(1)}`)).filter(Boolean);
    if (points.length) svg.append(path(`M${points.join("L")}${points.length > 1 ? "" : "h0"}`, colour(which))); // a single one as a dot
  });
  const caption = make("figcaption", "", title);
  lines.forEach(([name], which) => {
    if (which && which < lines.length - 1) return; // the others lie between
    if (which && epochs.every((each, index) => values[0][index] === values[which][index])) return; // one line over the other
    const key = make("span", "key", `${name} ${number(told[which])}`);
    key.style.setProperty("--line", colour(which));
    caption.append(key);
  });
  figure.append(caption, plot(svg, most ?? top, logarithmic ? low : 0, epochs, edge > 0 ? (100 * (edge - 0.5)) / (epochs.length - 1) : 0));
  return figure;
}

// What stands at both ends of the epochs: those of the blocks are counted from 1, after the head's.
export const ends = (epochs) => [epochs[0].stage === "head" && epochs.at(-1).stage === "blocks" ? "head" : "1", `epoch ${epochs.at(-1).epoch}`];

// A drawing between its axes: values upwards, epochs to the right, and where the blocks begin to learn, in per cent of the width.
function plot(svg, top, low, epochs, blocks) {
  const frame = make("div", "plot");
  const upwards = make("div", "upwards");
  const tick = (value) => (value && value < 0.01 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
  upwards.append(...[top, low].map((value) => make("span", "", tick(value))));
  const along = make("div", "along");
  along.append(...ends(epochs).map((text) => make("span", "", text)));
  if (blocks > 20 && blocks < 80) {
    const name = make("span", "blocks", "blocks");
    name.style.left = `${blocks}%`;
    along.append(name);
  }
  frame.append(upwards, svg, along);
  return frame;
}

function path(d, colour) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", d);
  line.style.stroke = colour;
  return line;
}

const number = (value) => (value === null || value === undefined ? "–" : value === 0 ? "0" : value >= 0.01 ? value.toFixed(3) : value.toExponential(1));
