// The stage: the map over the photo, its colour bar and title, and the lines on top.
import { colours, digits, drawable, ends, heat, reading, tableOf } from "./heat.js";
import { paintStrip } from "./filmstrip.js";
import { boxOf, drawBar, overlay, prepare } from "./overlay.js";
import { $, $$, base, columns, explorer, pointed, rows, setBase, signed, titled, told, unit, view } from "./state.js";

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
  const values = drawable(heat());
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
  const boxes = [view.held, pointed()].filter(Boolean).map((place) => boxOf(...place));
  const cursor = boxes.map(([x, y, x2, y2]) => `M${x} ${y}H${x2}V${y2}H${x}Z`).join("");
  for (const [name, path] of [["outline", outline], ["grid", lines], ["cursor", cursor]]) {
    $$(`.att-marks .att-${name}`).forEach((line) => line.setAttribute("d", path));
  }
  $(".att-marks").classList.toggle("held", Boolean(view.held));
}
