// The stage: the map over the photo, its colour bar and title, and the lines on top.
import { artefacts, colours, digits, drawable, ends, heat, ofAttention, reading, tableOf } from "./heat.js";
import { percent } from "../lib/format.js";
import { paintStrip } from "./filmstrip.js";
import { boxOf, drawBar, overlay, prepare } from "./overlay.js";
import { $, $$, base, columns, explorer, patch, pointed, reader, rows, setBase, signed, titled, told, unit, view } from "./state.js";

const HINTS = {
  mouse: ["Hover a patch to see what it looks at. Click holds it.", "Held. Point elsewhere for values. Escape lets go."],
  touch: ["Tap a patch to see what it looks at.", "Held. Tap it again to let go."],
  value: ["Point at a patch to read its value. Click holds it.", "Held. Escape lets go."],
};
const AWAY = 8; // pixels between a patch and its tooltip
let frame = 0;

export function redraw() {
  if (!frame) frame = requestAnimationFrame(paintStage);
}

// The photo's pixels at most 1,200 a side, and at least so many that lines of patches stay smooth on a large screen.
export function fit() {
  const image = $(".att-photo");
  const longest = Math.max(image.naturalWidth, image.naturalHeight);
  const scale = Math.min(1200, Math.max(900, longest)) / longest;
  const [width, height] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
  Object.assign($(".att-heat"), { width, height });
  $(".att-inner").style.setProperty("--shape", width / height);
  setBase(prepare(image, width, height, view.flat));
}

const touched = () => matchMedia("(hover: none)").matches;

function paintStage() {
  frame = 0;
  if (!told || !base) return;
  const values = drawable();
  if (values) {
    const [low, high] = ends();
    const began = performance.now();
    const look = { colours: colours(), opacity: view.opacity, smooth: view.smooth, flat: view.flat };
    $(".att-heat").getContext("2d").putImageData(overlay(base, values, [low, high], look), 0, 0);
    explorer.dataset.drawn = (performance.now() - began).toFixed(1);
    $(".att-low").textContent = digits(low);
    $(".att-high").textContent = `${view.even && !signed() ? "≥ " : ""}${digits(high)}`;
    drawBar($(".att-bar"), tableOf(colours()));
    $(".att-unit").textContent = `${unit()}${view.locked ? ", one scale for all layers" : ""}`;
    read(heat(), low, high);
    $(".att-title").textContent = titled(); // of what is drawn: while numbers are on their way, the map before them keeps its own
  }
  $(".att-heat").style.clipPath = view.split ? `inset(0 0 0 ${100 * view.split}%)` : "";
  $(".att-divider").hidden = !view.split;
  $(".att-divider").style.left = `${100 * view.split}%`;
  mark();
  tellArtefacts();
  paintStrip();
  $(".att-hint").textContent = HINTS[view.direction === "value" ? "value" : touched() ? "touch" : "mouse"][view.held ? 1 : 0];
}

// The value under the pointer: a needle on the colour bar, and a tooltip above the patch, or below it. A finger has no place but the one it held.
function read(values, low, high) {
  const place = view.hover || (touched() || view.direction === "value" ? view.held : null);
  const [tip, needle] = [$(".att-tip"), $(".att-needle")];
  tip.hidden = needle.hidden = !place;
  if (!place) return;
  const { value, text } = reading(values, place);
  tip.textContent = text;
  needle.style.left = `${high > low ? 100 * Math.min(1, Math.max(0, (value - low) / (high - low))) : 0}%`;
  const inner = $(".att-inner");
  const scale = inner.clientWidth / told.geometry.photo[0];
  const [left, top, right, bottom] = boxOf(...place).map((edge) => edge * scale);
  const above = top - AWAY - tip.offsetHeight;
  tip.style.left = `${Math.max(0, Math.min(inner.clientWidth - tip.offsetWidth, (left + right - tip.offsetWidth) / 2))}px`;
  tip.style.top = `${above < 0 ? bottom + AWAY : above}px`;
}

// The frame, the grid and the patch that is asked, in lines that stay thin at any size.
function mark() {
  const { box, photo } = told.geometry;
  const [left, top, right, bottom] = box;
  $(".att-marks").setAttribute("viewBox", `0 0 ${photo[0]} ${photo[1]}`);
  const whole = told.geometry.seen > 0.9999;
  const outline = $(".att-framed").checked && !whole ? `M${left} ${top}H${right}V${bottom}H${left}Z` : "";
  let lines = "";
  if ($(".att-gridded").checked) {
    for (let row = 1; row < rows(); row++) lines += `M${left} ${top + ((bottom - top) * row) / rows()}H${right}`;
    for (let column = 1; column < columns(); column++) lines += `M${left + ((right - left) * column) / columns()} ${top}V${bottom}`;
  }
  const rings = ringed().map((place) => {
    const [x, y, x2, y2] = boxOf(...place);
    const [across, down] = [0.42 * (x2 - x), 0.42 * (y2 - y)];
    return `M${(x + x2) / 2 - across} ${(y + y2) / 2}a${across} ${down} 0 1 0 ${2 * across} 0a${across} ${down} 0 1 0 ${-2 * across} 0`;
  });
  const boxes = [view.held, pointed()].filter(Boolean).map((place) => boxOf(...place));
  const cursor = boxes.map(([x, y, x2, y2]) => `M${x} ${y}H${x2}V${y2}H${x}Z`).join("");
  for (const [name, path] of [["outline", outline], ["grid", lines], ["ring", rings.join("")], ["cursor", cursor]]) {
    $$(`.att-marks .att-${name}`).forEach((line) => line.setAttribute("d", path));
  }
  $(".att-marks").classList.toggle("held", Boolean(view.held));
}

const TOP = 0.05; // the share of the patches that count as a map's hottest

// The artefacts that concern the map on show: all of them in a map of attention, and in another one those among its hottest patches.
function ringed() {
  const [values, marked] = [heat(), artefacts()];
  if (!values) return [];
  const least = ofAttention() ? -Infinity : Float32Array.from(values).sort()[Math.floor((1 - TOP) * (values.length - 1))];
  const places = [...marked.keys()].filter((place) => marked[place] && values[place] >= least);
  return places.map((place) => [Math.floor(place / columns()), place % columns()]);
}

// How much of the attention the artefacts hold, and whether the map shows it.
function tellArtefacts() {
  const places = ringed();
  $(".att-artefact-text").hidden = !places.length;
  if (!places.length) return;
  const corner = ([row, column]) => (row === 0 || row === rows() - 1) && (column === 0 || column === columns() - 1);
  const one = places.length === 1;
  const patches = `${places.length}${places.every(corner) ? " corner" : ""} patch${one ? "" : "es"}`;
  $(".att-artefact-toggle").hidden = !ofAttention();
  if (!ofAttention()) return ($(".att-artefact-text span").textContent = `${patches} ringed: artefacts, which hold what is known of the whole photo.`);
  const values = heat();
  const sum = (given) => given.reduce((total, value) => total + value, 0);
  const held = sum(places.map(([row, column]) => values[row * columns() + column])) / (view.method === "rollout" && !patch() ? sum(values) : 1);
  const whose = patch() ? "this patch's attention" : view.method === "rollout" ? "the rollout" : `the attention of ${reader()}`;
  $(".att-artefact-text span").textContent = `${patches} hold${one ? "s" : ""} ${percent(held)} of ${whose}: a known artefact${view.artefacts ? "." : ", left out."}`;
  $(".att-artefact-toggle").textContent = view.artefacts ? "Leave out" : "Show";
}
