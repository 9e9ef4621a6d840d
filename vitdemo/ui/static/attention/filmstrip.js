// The filmstrip: the map of every layer, small, with the class that leads after it (the logit lens) and its probability.
import { button, make } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { colours, drawable, ends, heat } from "./heat.js";
import { play, setLayer } from "./layers.js";
import { miniature, paintCrop } from "./overlay.js";
import { $, $$, base, follow, patch, question, told, view } from "./state.js";

const SIDE = 96; // pixels of a map's longer side
const REST = 60; // milliseconds without another map
let waiting = 0;
let painted = ""; // what the tiles show

export function listen() {
  follow("layer", markStrip);
  $(".att-lens").addEventListener("click", (event) => choose(event.target.closest("button")));
  $(".att-lens").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    choose($$(".att-lens button")[Math.min(told.layers, Math.max(1, view.layer + step)) - 1]);
  });
}

function choose(tile) {
  if (!tile) return;
  play(false);
  setLayer(Number(tile.dataset.layer));
  tile.focus({ preventScroll: true });
}

export function drawStrip() {
  const answer = told.lens.at(-1)?.index;
  const tiles = Array.from({ length: told.layers }, (_, place) => {
    const leading = told.lens[place];
    const tile = button(leading?.index === answer && leading ? "same" : "");
    const words = leading ? `Layer ${place + 1}: ${leading.name}, ${percent(leading.probability)}` : `Layer ${place + 1}`;
    tile.title = words;
    tile.setAttribute("aria-label", words);
    tile.dataset.layer = place + 1;
    tile.append(make("canvas"), make("span", "", leading?.name ?? String(place + 1)));
    if (leading) {
      tile.append(make("small", "", percent(leading.probability)), make("i"));
      tile.lastChild.style.setProperty("--share", leading.probability);
    }
    return tile;
  });
  $(".att-lens").style.setProperty("--layers", told.layers);
  $(".att-lens").classList.toggle("many", told.layers > 12);
  $(".att-lens").replaceChildren(...tiles);
  markStrip();
  painted = "";
  paintStrip();
}

export function markStrip() {
  $$(".att-lens button").forEach((tile, place) => {
    tile.setAttribute("aria-pressed", place + 1 === view.layer);
    tile.tabIndex = place + 1 === view.layer ? 0 : -1;
  });
  const [strip, tile] = [$(".att-lens"), $('.att-lens [aria-pressed="true"]')];
  if (tile && strip.scrollWidth > strip.clientWidth) strip.scrollTo({ left: tile.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 });
}

// Each tile as the stage would paint it, once the same map has been on show for a moment.
export function paintStrip() {
  const shown = { ...question(), layer: null, patch: patch(), session: told.session, there: Boolean(heat()) };
  if (painted === (painted = JSON.stringify(shown))) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (!told || !base) return;
    const prepared = (base.strip ??= miniature(base, $(".att-photo"), SIDE));
    const look = { colours: colours(), opacity: view.opacity, smooth: view.smooth, flat: view.flat };
    $$(".att-lens button").forEach((tile, place) => {
      const values = drawable(place + 1);
      if (values) paintCrop(tile.firstChild, prepared, values, ends(place + 1), look);
    });
  }, REST);
}
