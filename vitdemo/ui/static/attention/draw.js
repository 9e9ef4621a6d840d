// The stage: the map over the photo, its colour bar and title, and the lines on top.
import { colours, digits, drawable, heat, span, tableOf } from "./heat.js";
import { boxOf, drawBar, overlay, prepare } from "./overlay.js";
import { $, $$, base, columns, explorer, patch, rows, setBase, signed, titled, told, unit, view } from "./state.js";

const HINTS = {
  mouse: ["Hover a patch to see what it looks at. Click holds it.", "Held. Click it again, or press Escape, to let go."],
  touch: ["Tap a patch to see what it looks at.", "Held. Tap it again to let go."],
};
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
    const ends = span(values);
    const began = performance.now();
    const look = { colours: colours(), opacity: view.opacity, smooth: view.smooth, flat: view.flat };
    $(".att-heat").getContext("2d").putImageData(overlay(base, values, ends, look), 0, 0);
    explorer.dataset.drawn = (performance.now() - began).toFixed(1);
    $(".att-low").textContent = digits(ends[0]);
    $(".att-high").textContent = `${view.even && !signed() ? "≥ " : ""}${digits(ends[1])}`;
    drawBar($(".att-bar"), tableOf(colours()));
    $(".att-unit").textContent = unit();
    $(".att-title").textContent = titled(); // of what is drawn: while numbers are on their way, the map before them keeps its own
  }
  $(".att-heat").style.clipPath = view.split ? `inset(0 0 0 ${100 * view.split}%)` : "";
  $(".att-divider").hidden = !view.split;
  $(".att-divider").style.left = `${100 * view.split}%`;
  mark();
  const held = view.held && !view.hover;
  $(".att-hint").textContent = HINTS[touched() ? "touch" : "mouse"][held ? 1 : 0];
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
  let cursor = "";
  if (patch()) {
    const [x, y, x2, y2] = boxOf(...patch());
    cursor = `M${x} ${y}H${x2}V${y2}H${x}Z`;
  }
  for (const [name, path] of [["outline", outline], ["grid", lines], ["cursor", cursor]]) {
    $$(`.att-marks .att-${name}`).forEach((line) => line.setAttribute("d", path));
  }
  $(".att-marks").classList.toggle("held", Boolean(view.held && !view.hover));
}
