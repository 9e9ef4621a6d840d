// Presenter mode: the photo, its answer and the filmstrip alone on the screen, in large type, and led by keys.
import { make, openTab } from "../../lib/dom.js";
import { percent } from "../../lib/format.js";
import { holdAgainst } from "../classes.js";
import { startErase, test } from "../erase.js";
import { play, setLayer } from "../layers.js";
import { $, explorer, told, view } from "../state.js";

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
  $(".att-present").addEventListener("click", () => told && present(true));
  $(".att-leave").addEventListener("click", () => present(false));
  $(".att-keys-open").addEventListener("click", () => showKeys());
  $(".att-keys-close").addEventListener("click", () => showKeys(false));
  $(".att-keys-on").checked = !localStorage.getItem(OFF);
  $(".att-keys-on").addEventListener("change", (event) => (event.target.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
  $(".att-keys-list").replaceChildren(...KEYS.flatMap(([key, does]) => [make("dt", "", key), make("dd", "", does)]));
  $(".att-big").addEventListener("click", (event) => choose(event.target.closest("button")?.dataset.place));
  const hear = (event) => (explorer.isConnected ? press(event) : document.removeEventListener("keydown", hear));
  document.addEventListener("keydown", hear);
}

export function present(on) {
  if (presenting() === on) return;
  if (on) lastFocus = document.activeElement;
  explorer.classList.toggle("presenting", on);
  look("");
  showKeys(false);
  if (on) $(".att-heat").focus({ preventScroll: true });
  else lastFocus?.focus({ preventScroll: true });
}

// The five leading classes, large; the one that the map explains is marked.
export function drawBig() {
  $(".att-big").replaceChildren(
    ...told.top.map((found, place) => {
      const line = make("li");
      const chosen = Object.assign(make("button", "", ""), { type: "button" });
      chosen.dataset.place = place;
      chosen.setAttribute("aria-pressed", view.method === "relevance" && found.index === view.target);
      chosen.append(make("span", "", found.name), make("strong", "", percent(found.probability)), make("i"));
      chosen.lastChild.style.setProperty("--share", found.probability);
      line.append(chosen);
      return line;
    })
  );
}

function choose(place) {
  const found = told?.top[place];
  if (found) holdAgainst(found.index, null);
}

// What is on the screen: the stage, the wall or the erase test.
function look(part) {
  explorer.dataset.look = explorer.dataset.look === part ? "" : part;
}

function showKeys(on = $(".att-keys").hidden) {
  $(".att-keys").hidden = !on;
  if (on) $(".att-keys-close").focus();
}

function erase() {
  look("erase");
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
    h: () => look("wall"),
    "?": () => showKeys(),
  }[key.toLowerCase()];
  if (!does && !/^[1-5]$/.test(key)) return;
  event.preventDefault();
  does ? does() : choose(Number(key) - 1);
}
