// The layers of a model as a strip: a bar for each one's score, a slider, and play.
import { finders } from "../lib/dom.js";

const STEP = 1400; // milliseconds that play stays with a layer

export class LayerStrip {
  /**
   * @param {Element} root has the markup of layers.html
   * @param {(layer: number | "final") => void} choose somebody wants that layer
   */
  constructor(root, choose) {
    this.find = finders(root).$;
    this.choose = choose;
    /** @type {(number | "final")[]} */
    this.layers = [];
    /** @type {number | "final" | null} */
    this.layer = null; // on show
    this.playing = 0; // the timer of the next step; 0 while it stands still
    this.ready = () => true; // the layer's map is there
    this.find(".lay-range").addEventListener("input", (event) => this.take(Number(event.target.value)));
    this.find(".lay-bars").addEventListener("click", (event) => {
      const bar = event.target.closest("[data-place]");
      if (bar) this.take(Number(bar.dataset.place));
    });
    this.find(".lay-play").addEventListener("click", () => this.play(!this.playing));
  }

  name(layer) {
    return layer === "final" ? "final" : `layer ${layer}`;
  }

  setLayers(layers, layer) {
    this.play(false);
    this.layers = layers;
    this.find(".lay-range").max = layers.length - 1;
    this.bars(layers.map(() => null), "");
    this.set(layer);
  }

  // In silence: what is on show.
  set(layer) {
    this.layer = layer;
    const place = this.layers.indexOf(layer);
    const range = this.find(".lay-range");
    range.value = place;
    range.setAttribute("aria-valuetext", this.name(layer));
    this.find(".lay-text").textContent = this.name(layer);
    this.find(".lay-bars").querySelectorAll("button").forEach((bar, index) => bar.setAttribute("aria-pressed", index === place));
  }

  take(place) {
    this.play(false);
    this.set(this.layers[place]);
    this.choose(this.layer);
  }

  // values: one a layer, null for none; low: the value of an empty bar.
  bars(values, measure, low = 0) {
    const known = values.filter((value) => value !== null);
    const high = Math.max(low + 1e-9, ...known);
    const best = known.length ? values.indexOf(Math.max(...known)) : -1;
    this.find(".lay-bars").replaceChildren(
      ...values.map((value, place) => {
        const button = Object.assign(document.createElement("button"), { type: "button", tabIndex: -1 });
        const said = value === null ? "" : `: ${measure} ${value.toFixed(3)}${place === best ? ", the best" : ""}`;
        const name = this.name(this.layers[place]);
        button.title = `${name[0].toUpperCase()}${name.slice(1)}${said}`;
        button.setAttribute("aria-label", button.title);
        button.dataset.place = place;
        if (place === best) button.className = "best";
        const bar = document.createElement("i");
        bar.style.height = value === null ? "3px" : `${Math.max(4, (100 * (value - low)) / (high - low))}%`;
        const number = document.createElement("span");
        number.textContent = this.layers[place] === "final" ? "fin" : String(this.layers[place]);
        const box = document.createElement("b");
        box.append(bar);
        button.append(box, number);
        return button;
      })
    );
    this.set(this.layer);
    return best;
  }

  // A layer stays until the next one's map is there.
  play(on) {
    clearTimeout(this.playing);
    this.playing = 0;
    if (on) {
      if (this.layer === this.layers.at(-1)) this.step(this.layers[0]);
      this.playing = setTimeout(() => this.tick(), STEP);
    }
    this.find(".lay-play").setAttribute("aria-pressed", on);
    this.find(".lay-play").setAttribute("aria-label", on ? "Pause" : "Play through the layers");
    this.find(".lay-shape").setAttribute("d", on ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z");
  }

  step(layer) {
    this.set(layer);
    this.choose(layer);
  }

  tick() {
    if (!this.find(".lay-play")?.isConnected) return this.play(false);
    const place = this.layers.indexOf(this.layer);
    if (this.ready() && place < this.layers.length - 1) this.step(this.layers[place + 1]);
    if (this.ready() && this.layers.indexOf(this.layer) === this.layers.length - 1) return this.play(false);
    this.playing = setTimeout(() => this.tick(), this.ready() ? STEP : 150);
  }
}
