// Presenter mode: the photo, its answer and the filmstrip alone on the screen, in large type, and led by keys.
import { button, make, openTab } from "../../lib/dom.js";
import { percent } from "../../lib/format.js";
import { holdAgainst } from "../classes.js";
import { startErase, test } from "../evaluation/erase.js";
import { play, setLayer } from "../layers.js";
import { $, explorer, follow, ofClass, told, view } from "../state.js";

const OFF = "vitdemo-keys-off"; // of the browser's storage
const KEYS = [
  ["P", "present, or leave"],
  ["Space", "play through the layers"],
  ["← →", "the layer before, the next one"],
  ["1 … 5", "the class that the map explains"],
  ["D", "the difference to the next class"],
  ["E", "the erase test"],
  ["H", "the wall of heads"],
  ["?", "these keys"],
  ["Esc", "leave"],
];
let lastFocus = null;

export const presenting = () => explorer.classList.contains("presenting");

export function listen() {
  follow("class", drawBig);
  follow("method", drawBig);
  $(".att-present").addEventListener("click", () => told && present(true));
  $(".att-leave").addEventListener("click", () => present(false));
  $(".att-keys-open").addEventListener("click", () => showKeys());
  $(".att-keys-close").addEventListener("click", () => showKeys(false));
  $(".att-keys-on").checked = !localStorage.getItem(OFF);
  $(".att-keys-on").addEventListener("change", (event) => (event.target.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
  $(".att-keys-list").replaceChildren(...KEYS.flatMap(([key, does]) => [make("dt", "", key), make("dd", "", does)]));
  $(".att-big").addEventListener("click", (event) => choose(event.target.closest("button")?.dataset.index));
  const hear = (event) => (explorer.isConnected ? press(event) : document.removeEventListener("keydown", hear));
  document.addEventListener("keydown", hear);
}

export function present(on) {
  if (presenting() === on) return;
  if (on) lastFocus = document.activeElement;
  else play(false);
  explorer.classList.toggle("presenting", on);
  look("");
  showKeys(false);
  if (on) $(".att-title").focus({ preventScroll: true }); // not the map: its arrow keys move from patch to patch
  else lastFocus?.focus({ preventScroll: true });
}

// The five leading classes, large; the one that the map explains is marked. Where heads are off, with the answer before.
export function drawBig() {
  const moves = told.off.length ? told.moves.slice(0, told.top.length) : told.top;
  $(".att-big").classList.toggle("moved", told.off.length > 0);
  $(".att-big").replaceChildren(
    ...moves.map(({ index, name, probability, after = probability }) => {
      const line = make("li");
      const chosen = button("");
      chosen.dataset.index = index;
      chosen.setAttribute("aria-pressed", ofClass() && index === view.target);
      chosen.append(make("span", "", name), make("strong", "", told.off.length ? `${percent(probability)} → ${percent(after)}` : percent(after)), make("i"));
      chosen.lastChild.style.setProperty("--share", after);
      chosen.lastChild.style.setProperty("--before", probability);
      line.append(chosen);
      return line;
    })
  );
}

function choose(index) {
  if (index !== undefined) holdAgainst(Number(index), null);
}

// What is on the screen: the stage for "", the wall or the erase test.
export function look(part) {
  explorer.dataset.look = part;
}

const toggle = (part) => look(explorer.dataset.look === part ? "" : part);

function showKeys(on = $(".att-keys").hidden) {
  $(".att-keys").hidden = !on;
  if (on) $(".att-keys-close").focus();
}

function erase() {
  toggle("erase");
  if (explorer.dataset.look && !test.curves.map) startErase();
}

function difference() {
  const at = told.top.findIndex((found) => found.index === view.target);
  const other = told.top[at === 0 ? 1 : 0];
  if (other) holdAgainst(view.target, view.other === null ? other.index : null);
}

const typing = ({ target }) => target.closest?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function press(event) {
  const { key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !told || typing(event)) return;
  if (key === "Escape" && presenting()) return $(".att-keys").hidden ? present(false) : showKeys(false);
  if (localStorage.getItem(OFF)) return;
  if (!presenting()) {
    if (key.toLowerCase() !== "p") return;
    if (!explorer.offsetParent) openTab("Attention");
    return present(true);
  }
  const does = {
    p: () => present(false),
    " ": () => play(),
    arrowleft: () => (play(false), setLayer(view.layer - 1)),
    arrowright: () => (play(false), setLayer(view.layer + 1)),
    d: difference,
    e: erase,
    h: () => toggle("wall"),
    "?": () => showKeys(),
  }[key.toLowerCase()];
  if (!does && !/^[1-5]$/.test(key)) return;
  if (key === " " && event.target.closest?.("button, summary, a, input")) return; // which it presses
  event.preventDefault();
  does ? does() : choose(told.top[Number(key) - 1]?.index);
}
