// The photo: hover, hold and the keys, and what a screen reader hears of them.
import { unpack } from "../lib/arrays.js";
import { fetched } from "../lib/rpc.js";
import { redraw } from "./draw.js";
import { digits, heat, reading } from "./heat.js";
import { setLayer } from "./layers.js";
import { $, ask, columns, element, follow, links, patch, placed, pointed, rows, told, view } from "./state.js";

const TYPED = "textarea, select, [contenteditable=true], input:not([type=range], [type=checkbox], [type=radio], [type=file])";
const OPEN = "dialog[open], [aria-modal=true], ul[role=listbox]"; // what Escape closes before

export function listen() {
  follow("layer", redraw);
  const canvas = $(".att-heat");
  canvas.addEventListener("pointermove", (event) => {
    if (told && event.pointerType !== "touch") hover(at(event));
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("click", (event) => told && hold(at(event)));
  canvas.addEventListener("keydown", (event) => told && press(event));
  canvas.addEventListener("blur", () => hover(null));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || !told || !pointed() || !element.checkVisibility()) return;
    if (/** @type {Element} */ (event.target).closest(TYPED) || document.querySelector(OPEN)) return;
    letGo();
  });
}

// The patch under the pointer.
function at(event) {
  const box = $(".att-heat").getBoundingClientRect();
  const [left, top, right, bottom] = told.geometry.box;
  const x = ((event.clientX - box.left) / box.width) * told.geometry.photo[0];
  const y = ((event.clientY - box.top) / box.height) * told.geometry.photo[1];
  const column = Math.floor(((x - left) / (right - left)) * columns());
  const row = Math.floor(((y - top) / (bottom - top)) * rows());
  return row >= 0 && row < rows() && column >= 0 && column < columns() ? [row, column] : null;
}

const same = (a, b) => a === b || (a && b && a[0] === b[0] && a[1] === b[1]);

function hover(place) {
  if (same(place, view.hover)) return;
  view.hover = place;
  if (place) wantLinks();
  redraw();
}

function letGo() {
  [view.hover, view.held] = [null, null];
  tell();
  redraw();
}

function hold(place) {
  view.held = same(place, view.held) ? null : place;
  view.hover = null;
  if (view.held) wantLinks();
  tell();
  redraw();
}

function press(event) {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const { key } = event;
  if (steps[key]) {
    const [row, column] = pointed() || [rows() >> 1, columns() >> 1];
    const [down, across] = pointed() ? steps[key] : [0, 0];
    view.hover = [Math.min(rows() - 1, Math.max(0, row + down)), Math.min(columns() - 1, Math.max(0, column + across))];
    wantLinks();
    tell();
  } else if (key === "Enter" || key === " ") hold(pointed());
  else if (key === "PageUp" || key === "PageDown") setLayer(view.layer + (key === "PageUp" ? 1 : -1));
  else return;
  event.preventDefault();
  redraw();
}

// One head's attention for the hover, fetched when it is first needed; the mean of all is there from the start.
export async function wantLinks() {
  const head = view.head;
  if (!patch() || head === "mean" || links.has(head)) return;
  links.set(head, null);
  const answer = await ask("head", { head });
  if (!answer) return links.delete(head);
  const session = told.session;
  const buffer = await fetched(answer.path).catch(() => null);
  if (session !== told?.session) return;
  buffer ? links.set(head, unpack(buffer, answer.sections)) : links.delete(head);
  redraw();
}

// For a screen reader: where the patch looks most, and the value that is read.
export function tell() {
  const values = pointed() && heat();
  if (!values) return ($(".att-said").textContent = "");
  const value = reading(values, pointed()).text;
  if (!patch() || (view.held && view.hover)) return ($(".att-said").textContent = value);
  const most = values.indexOf(Math.max(...values));
  const where = placed([Math.floor(most / columns()), most % columns()]);
  const words = view.direction === "looks-at" ? "looks most at" : "is looked at most by";
  const held = view.held ? "Held: the" : "The";
  $(".att-said").textContent = `${held} patch in ${placed(patch())} ${words} ${where}, ${digits(values[most])} of its attention. Here: ${value}.`;
}
