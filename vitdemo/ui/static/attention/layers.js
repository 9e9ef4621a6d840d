// The layers: the slider with play, and the filmstrip above it.
import { make } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { $, changed, element, told, view } from "./state.js";

let playing = 0;

export function listen() {
  $(".att-play").addEventListener("click", () => told && play());
  $(".att-layer").addEventListener("input", (event) => {
    play(false);
    setLayer(Number(event.target.value));
  });
}

export function setLayer(layer) {
  view.layer = Math.min(told.layers, Math.max(1, layer));
  const range = $(".att-layer");
  range.value = view.layer;
  range.setAttribute("aria-valuetext", `layer ${view.layer} of ${told.layers}`);
  $(".att-layer-text").textContent = `${view.layer} / ${told.layers}`;
  const leading = told.lens[view.layer - 1];
  if (leading) {
    const name = make("strong", "", leading.name);
    const chance = `, ${percent(leading.probability)}.`;
    $(".att-lens-text").replaceChildren(`After layer ${view.layer} it would say `, name, chance);
  } else {
    $(".att-lens-text").textContent = "This model has no classes, so there is nothing for a logit lens, relevance or the erase test to follow.";
  }
  changed("layer");
}

export function play(on = !playing) {
  clearInterval(playing);
  playing = 0;
  if (on) {
    if (view.layer === told.layers) setLayer(1);
    playing = setInterval(() => {
      if (!element.isConnected || !told || view.layer >= told.layers) return play(false);
      setLayer(view.layer + 1);
    }, 600);
  }
  $(".att-play").setAttribute("aria-pressed", on);
  $(".att-play").setAttribute("aria-label", on ? "Pause" : "Play through the layers");
  $(".att-play-shape").setAttribute("d", on ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z");
}
