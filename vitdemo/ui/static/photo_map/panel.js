// The map with its tools and its legend: what is coloured by what, and which photos are chosen.
import { button, finders, make, radios } from "../lib/dom.js";
import { percent, shownName } from "../lib/format.js";
import { colourByName, colourByValue, STEPS } from "./colours.js";
import { PhotoMap } from "./map.js";

/** @import { Colours } from "./colours.js" */

const NO_CLUSTER = "unclustered";
/** @type {Record<string, [string, (rows: any[]) => unknown]>} */
const COLOURS = {
  cluster: ["Cluster", () => true],
  folder: ["Folder", (rows) => new Set(rows.map((row) => row.folder)).size > 1],
  label: ["Prediction", (rows) => rows.some((row) => row.label)],
  probability: ["Confidence", (rows) => rows.some((row) => row.label)],
  remote: ["Outlier score", (rows) => rows.length > 2],
};

export class MapPanel {
  /**
   * @param {Element} root has the markup of map.html and a .map-legend
   * @param {{open: (row: any) => void, close: () => void, select: (rows: any[]) => void}} heard
   */
  constructor(root, heard) {
    this.find = finders(root).$;
    this.heard = heard;
    /** @type {any[]} */
    this.rows = []; // one a point, as setPhotos is given them
    this.by = "cluster"; // what the colours say: a name of COLOURS
    /** @type {Map<string, number>} */
    this.kept = new Map(); // name → the number of its colour
    /** @type {Record<string, any> | null} */
    this.numbers = null; // of the map on show, as setMap is given them
    /** @type {string[]} */
    this.names = []; // of the clusters
    /** @type {Colours | null} */
    this.shown = null; // the colours on show
    this.map = new PhotoMap(this.find(".map-box"), {
      open: (id) => heard.open(this.row(id)),
      close: () => {
        if (this.map.selecting) this.map.select(null);
        heard.close();
      },
      select: (ids) => {
        this.mark();
        heard.select(ids.map((id) => this.row(id)));
      },
      describe: (point) => this.describe(this.rows[point], point),
    });
    radios(this.find(".map-tool"), (tool) => this.map.setTool(tool));
    radios(this.find(".map-as"), (as) => this.map.setAsPhotos(as === "photos"));
    this.find(".map-zooms").addEventListener("click", (event) => {
      const zoom = event.target.closest("[data-zoom]")?.dataset.zoom;
      const { camera } = this.map;
      if (zoom === "fit") this.map.fit();
      else if (zoom) camera.zoomAt(Number(zoom), camera.width / 2, camera.height / 2), this.map.redraw();
    });
    this.find(".map-colour").addEventListener("change", (event) => this.colour(event.target.value));
    this.find(".map-legend").addEventListener("click", (event) => {
      const entry = event.target.closest("[data-entry]");
      if (entry) this.choose(Number(entry.dataset.entry));
    });
  }

  row(id) {
    return this.rows[this.map.place.get(id)];
  }

  // rows: {id, name, folder, label, probability, duplicate}, one a point, in order.
  setPhotos(rows, thumbnails) {
    this.rows = rows;
    this.numbers = null;
    this.map.setPhotos(rows.map((row) => row.id), thumbnails);
    const options = Object.entries(COLOURS).filter(([, [, fits]]) => fits(rows));
    if (!options.some(([name]) => name === this.by)) this.by = "cluster";
    this.find(".map-colour").replaceChildren(...options.map(([value, [text]]) => Object.assign(make("option", "", text), { value })));
    this.find(".map-colour").value = this.by;
  }

  // numbers: positions, clusters, membership, remote, outlying; names: of the clusters.
  setMap(numbers, names, dimensions) {
    this.numbers = numbers;
    this.names = names;
    this.map.setPositions(numbers.positions, dimensions);
    this.colour(this.by);
  }

  cluster(point) {
    const cluster = this.numbers?.clusters[point] ?? -1;
    return cluster < 0 ? "" : this.names[cluster];
  }

  colour(by) {
    this.by = by;
    this.find(".map-colour").value = by;
    if (!this.numbers) return;
    const { rows, map, numbers } = this;
    if (by === "cluster") this.shown = colourByName(rows.map((_, point) => this.cluster(point)), NO_CLUSTER, this.kept);
    else if (by === "folder") this.shown = colourByName(rows.map((row) => row.folder), "in no folder", this.kept);
    else if (by === "label") this.shown = colourByName(rows.map((row) => row.label), "nothing", this.kept);
    else if (by === "probability") this.shown = colourByValue(Float32Array.from(rows, (row) => row.probability ?? NaN), percent);
    else this.shown = colourByValue(numbers.remote, (value) => value.toFixed(3));
    map.setColours(this.shown, { hollow: by === "cluster", labelled: Boolean(this.shown.entries) });
    this.legend();
  }

  legend() {
    const legend = this.find(".map-legend");
    if (this.shown.range) {
      const bar = make("i", "map-ramp");
      const steps = this.shown.palette.slice(1).filter((_, step) => step % 8 === 0 || step === STEPS - 1);
      bar.style.background = `linear-gradient(to right, ${steps.join(", ")})`;
      const line = make("div", "map-range");
      line.append(make("span", "", this.shown.range.low), bar, make("span", "", this.shown.range.high));
      legend.replaceChildren(line);
      if (this.by === "remote") {
        const far = [...this.numbers.outlying].filter(Boolean).length;
        if (far) legend.append(this.entry(0, "far from all others", far, this.shown.palette.at(-1)));
        legend.append(make("p", "map-why", "Mean distance to the five nearest neighbours in the embedding."));
      } else legend.append(make("p", "map-why", "The probability of the top class."));
      return;
    }
    const entries = this.shown.entries || [];
    legend.replaceChildren(...entries.map(({ text, count, colour, name }, index) => this.entry(index, shownName(text), count, colour, !name)));
    this.mark();
  }

  entry(index, text, count, colour, none = false) {
    const made = button(none ? "map-entry none" : "map-entry");
    made.dataset.entry = index;
    made.setAttribute("aria-pressed", "false");
    const swatch = make("i");
    swatch.style.setProperty("--swatch", colour);
    made.append(swatch, make("span", "", text), make("span", "", count.toLocaleString("en")));
    return made;
  }

  points(entry) {
    if (!this.shown.entries) return this.rows.map((_, point) => point).filter((point) => this.numbers.outlying[point]);
    const { name } = this.shown.entries[entry];
    return this.rows.map((_, point) => point).filter((point) => this.shown.names[point] === name);
  }

  choose(entry) {
    const pressed = this.find(`[data-entry="${entry}"]`).getAttribute("aria-pressed") === "true";
    this.map.select(pressed ? null : this.points(entry).map((point) => this.rows[point].id));
  }

  // Which of the legend's entries is just what is chosen.
  mark() {
    const chosen = this.map.selecting ? this.map.mask.reduce((sum, one) => sum + one, 0) : 0;
    for (const entry of this.find(".map-legend").querySelectorAll("[data-entry]")) {
      const points = chosen ? this.points(Number(entry.dataset.entry)) : [];
      entry.setAttribute("aria-pressed", chosen > 0 && points.length === chosen && points.every((point) => this.map.mask[point]));
    }
  }

  describe(row, point) {
    const cluster = this.cluster(point);
    const lines = [
      row.duplicate ? "the same file twice" : "",
      row.label ? `${shownName(row.label)}, ${percent(row.probability)}` : "",
      row.folder ? `folder ${shownName(row.folder)}` : "",
      this.numbers ? (cluster ? `cluster ${shownName(cluster)}` : NO_CLUSTER) : "",
    ];
    return { title: row.name.split("/").at(-1), lines: lines.filter(Boolean) };
  }
}
