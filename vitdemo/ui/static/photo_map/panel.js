// The map with its tools and its legend: what is coloured by what, and which photos are chosen.
const chance = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : share > 0.999 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`);
const NO_CLUSTER = "unclustered";
const COLOURS = {
  cluster: ["Cluster", () => true],
  folder: ["Folder", (rows) => new Set(rows.map((row) => row.folder)).size > 1],
  label: ["Prediction", (rows) => rows.some((row) => row.label)],
  probability: ["Confidence", (rows) => rows.some((row) => row.label)],
  remote: ["Outlier score", (rows) => rows.length > 2],
};

// Radio buttons in a row: one stop for Tab, arrow keys move, as in a native group. Returns a function that sets the value in silence.
function radios(group, choose) {
  const all = [...group.querySelectorAll("[role=radio]")];
  const set = (value) => {
    for (const each of all) {
      each.setAttribute("aria-checked", each.dataset.value === value);
      each.tabIndex = each.dataset.value === value ? 0 : -1;
    }
  };
  const pick = (button) => {
    set(button.dataset.value);
    choose(button.dataset.value);
  };
  for (const each of all) {
    each.addEventListener("click", () => pick(each));
    each.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const free = all.filter((other) => !other.disabled && !other.hidden);
      const next = free[(free.indexOf(each) + step + free.length) % free.length];
      next.focus();
      pick(next);
    });
  }
  set(all.find((each) => each.getAttribute("aria-checked") === "true")?.dataset.value);
  return set;
}

function unpacked(buffer, sections) {
  const types = { uint8: Uint8Array, uint32: Uint32Array, int32: Int32Array, float32: Float32Array };
  return Object.fromEntries(Object.entries(sections).map(([name, [type, start, count]]) => [name, new types[type](buffer, start, count)]));
}

class MapPanel {
  // root: has the markup of map.html and a .map-legend. heard: open(row), close(), select(rows).
  constructor(root, heard) {
    this.find = (selector) => root.querySelector(selector);
    this.heard = heard;
    this.rows = [];
    this.by = "cluster";
    this.kept = new Map(); // name → the number of its colour
    this.numbers = null;
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
    this.find(".map-colour").replaceChildren(...options.map(([value, [text]]) => Object.assign(document.createElement("option"), { value, textContent: text })));
    this.find(".map-colour").value = this.by;
  }

  // numbers: positions, clusters, membership, remote, outlying; names: of the clusters.
  setMap(numbers, names, dimensions) {
    Object.assign(this, { numbers, names });
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
    else if (by === "probability") this.shown = colourByValue(Float32Array.from(rows, (row) => row.probability ?? NaN), chance);
    else this.shown = colourByValue(numbers.remote, (value) => value.toFixed(3));
    map.setColours(this.shown, { hollow: by === "cluster", labelled: Boolean(this.shown.entries) });
    this.legend();
  }

  legend() {
    const legend = this.find(".map-legend");
    const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
    if (this.shown.range) {
      const bar = make("i", "map-ramp");
      bar.style.background = `linear-gradient(to right, ${this.shown.palette.slice(1).filter((_, step) => step % 8 === 0 || step === STEPS - 1).join(", ")})`;
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
    legend.replaceChildren(...(this.shown.entries || []).map((each, index) => this.entry(index, each.text, each.count, each.colour, !each.name)));
    this.mark();
  }

  entry(index, text, count, colour, none = false) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: none ? "map-entry none" : "map-entry" });
    button.dataset.entry = index;
    button.setAttribute("aria-pressed", "false");
    const swatch = document.createElement("i");
    swatch.style.setProperty("--swatch", colour);
    button.append(swatch, ...[text, count.toLocaleString("en")].map((each) => Object.assign(document.createElement("span"), { textContent: each })));
    return button;
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
    const chosen = this.map.selecting ? this.map.mask.reduce((sum, each) => sum + each, 0) : 0;
    for (const button of this.find(".map-legend").querySelectorAll("[data-entry]")) {
      const points = chosen ? this.points(Number(button.dataset.entry)) : [];
      button.setAttribute("aria-pressed", chosen > 0 && points.length === chosen && points.every((point) => this.map.mask[point]));
    }
  }

  describe(row, point) {
    const said = row.label ? `${row.label}, ${chance(row.probability)}` : "";
    const lines = [row.duplicate ? "the same file twice" : "", said, row.folder ? `folder ${row.folder}` : "", this.numbers ? `${this.cluster(point) ? `cluster ${this.cluster(point)}` : NO_CLUSTER}` : ""];
    return { title: row.name.split("/").at(-1), lines: lines.filter(Boolean) };
  }
}
