// What a word means, with a small picture, beside the word that somebody rests on; the side has them all.
import { $, explorer } from "../state.js";

const REST = 500; // milliseconds
const AWAY = 8; // pixels
let waiting = 0;

export function listen() {
  const hear = (kind, heard) => explorer.addEventListener(kind, (event) => heard(event.target.closest?.("[data-word]")));
  for (const kind of ["pointerover", "focusin"]) hear(kind, (word) => (hide(), word && (waiting = setTimeout(() => show(word), REST))));
  for (const kind of ["pointerdown", "focusout"]) hear(kind, hide);
  const press = () => (explorer.isConnected ? hide() : document.removeEventListener("keydown", press));
  document.addEventListener("keydown", press);
  explorer.addEventListener("pointerleave", hide);
}

function show(word) {
  const tip = $(".att-word-tip");
  tip.replaceChildren(...$(`.att-word[data-for="${word.dataset.word}"]`).cloneNode(true).children);
  tip.hidden = false;
  const at = word.getBoundingClientRect();
  const left = Math.max(AWAY, Math.min(innerWidth - tip.offsetWidth - AWAY, at.left));
  const below = at.bottom + AWAY + tip.offsetHeight < innerHeight;
  Object.assign(tip.style, { left: `${left}px`, top: `${below ? at.bottom + AWAY : at.top - AWAY - tip.offsetHeight}px` });
}

function hide() {
  clearTimeout(waiting);
  $(".att-word-tip").hidden = true;
}
