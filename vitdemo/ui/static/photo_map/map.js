// A map of photos on a canvas. It knows where points lie, how they are coloured and which are chosen; what it is told by hand it passes on.
import { Camera } from "./camera.js";
import { GREY } from "./colours.js";
import { Painter } from "./paint.js";
import { MapHand } from "./pointer.js";

const MOVING = 750; // milliseconds from one layer's map to the next
const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (share) => (share < 0.5 ? 4 * share ** 3 : 1 - (2 - 2 * share) ** 3 / 2);

export class PhotoMap {
  // box: the element around .map-canvas, .map-card and .map-said.
  // heard: open(id), close(), select(ids), describe(point) → {title, lines}.
  constructor(box, heard) {
    this.box = box;
    this.heard = heard;
    this.canvas = box.querySelector(".map-canvas");
    this.canvas.photoMap = this;
    this.camera = new Camera();
    this.painter = new Painter(this.canvas);
    this.tool = "pan";
    this.setPhotos([], null);
    new ResizeObserver(() => this.resize()).observe(box);
    this.painter.theme(box);
    new MutationObserver(() => this.retheme()).observe(document.body, { attributeFilter: ["class"] });
    new MapHand(this);
  }

  // ids: one a point, in order. Whatever was on the map goes.
  setPhotos(ids, thumbnails) {
    this.thumbnails?.forget();
    this.thumbnails = thumbnails;
    if (thumbnails) thumbnails.arrived = () => this.redraw();
    this.count = ids.length;
    this.ids = ids;
    this.place = new Map(ids.map((id, point) => [id, point]));
    for (const name of ["x", "y"]) this[name] = new Float32Array(this.count);
    this.near = new Float32Array(this.count).fill(1);
    this.order = Uint32Array.from(ids, (_, point) => point);
    this.mask = new Uint8Array(this.count);
    this.codes = new Uint16Array(this.count);
    Object.assign(this, { palette: [GREY], hollow: false, labelled: false, groups: [] });
    Object.assign(this, { positions: null, dimensions: 2, flat: true, moving: null });
    Object.assign(this, { selecting: false, opened: -1, linked: [], current: -1, hovered: -1, drawing: null });
    this.asPhotos ??= false;
    this.camera.touched = false;
    this.redraw();
  }

  // (points, dimensions): the points move there from where they are.
  setPositions(positions, dimensions) {
    const camera = this.camera;
    const before = this.positions;
    const turned = before && dimensions !== this.dimensions;
    if (!before || turned) camera.touched = false;
    if (!before || still.matches || !this.box.offsetWidth) {
      Object.assign(this, { positions, dimensions, flat: dimensions === 2, moving: null });
      if (!camera.touched) this.fit();
      return this.placed();
    }
    const wide = Math.max(dimensions, this.dimensions);
    const padded = (all, has) => {
      if (has === wide) return all;
      return Float32Array.from({ length: this.count * 3 }, (_, at) => (at % 3 < has ? all[Math.floor(at / 3) * has + (at % 3)] : 0));
    };
    const { scale, pan, centre, reach } = camera;
    const from = { scale, pan, centre, reach, yaw: this.flat ? 0 : camera.yaw, pitch: this.flat ? 0 : camera.pitch };
    const target = camera.touched ? from : { ...camera.fitting(positions, dimensions), pan: [0, 0] };
    if (dimensions === 2) Object.assign(target, { yaw: 0, pitch: 0 });
    else Object.assign(target, turned ? { yaw: 0.5, pitch: 0.35 } : { yaw: from.yaw, pitch: from.pitch });
    if (!camera.touched) camera.fitted = target.scale;
    const [start, to] = [padded(before, this.dimensions), padded(positions, dimensions)];
    this.moving = { from: start, to, camera: from, target, began: performance.now(), positions, dimensions };
    Object.assign(this, { positions: Float32Array.from(this.moving.from), dimensions: wide, flat: wide === 2 });
    this.redraw();
  }

  step(now) {
    const { from, to, camera, target, began, positions, dimensions } = this.moving;
    const share = Math.min(1, (now - began) / MOVING);
    const part = ease(share);
    const between = (a, b) => (Array.isArray(a) ? a.map((value, index) => value + (b[index] - value) * part) : a + (b - a) * part);
    if (share === 1) {
      Object.assign(this, { positions, dimensions, flat: dimensions === 2, moving: null });
      return this.placed();
    }
    for (let at = 0; at < to.length; at++) this.positions[at] = from[at] + (to[at] - from[at]) * part;
    const blend = (...names) => names.forEach((name) => (this.camera[name] = between(camera[name], target[name])));
    if (!this.camera.touched) blend("scale", "pan", "centre", "reach");
    if (!this.camera.touched || dimensions === 2) blend("yaw", "pitch");
    this.anchored = null;
    this.redraw();
  }

  placed() {
    if (this.flat) Object.assign(this.camera, { yaw: 0.5, pitch: 0.35 }); // for the next time in space
    this.anchored = null;
    this.redraw();
  }

  fit() {
    this.camera.use(this.camera.fitting(this.positions || [], this.dimensions));
    Object.assign(this.camera, { pan: [0, 0], touched: false });
    this.redraw();
  }

  // As colourByName or colourByValue give it. hollow: points of the first colour are rings; labelled: groups have their names on the map.
  setColours({ codes, palette, names = [], entries = [] }, { hollow = false, labelled = false } = {}) {
    Object.assign(this, { codes, palette, hollow, labelled });
    const points = new Map(entries.filter((entry) => entry.name).map((entry) => [entry.name, []]));
    if (labelled) names.forEach((name, point) => points.get(name)?.push(point));
    const short = (text) => (text.length > 28 ? `${text.slice(0, 27)}…` : text);
    this.groups = labelled ? [...points].map(([text, points]) => ({ text: short(text), points })) : [];
    this.anchored = null;
    this.redraw();
  }

  // Where the groups' names stand: at the median of their points, each axis for itself.
  anchors() {
    const count = this.groups.length;
    if (!this.anchored) {
      const middle = new Float32Array(count * this.dimensions);
      this.groups.forEach(({ points }, group) => {
        for (let axis = 0; axis < this.dimensions; axis++) {
          const values = Float32Array.from(points, (point) => this.positions[point * this.dimensions + axis]).sort();
          middle[group * this.dimensions + axis] = values[values.length >> 1];
        }
      });
      this.anchored = { middle, x: new Float32Array(count), y: new Float32Array(count), near: new Float32Array(count) };
    }
    const { middle, x, y, near } = this.anchored;
    this.camera.project(middle, this.dimensions, x, y, near);
    return this.anchored;
  }

  // ids, or null for no choice.
  select(ids) {
    this.mask.fill(0);
    for (const id of ids || []) if (this.place.has(id)) this.mask[this.place.get(id)] = 1;
    this.selecting = Boolean(ids?.length);
    this.redraw();
    this.heard.select(this.selecting ? [...this.ids].filter((_, point) => this.mask[point]) : []);
  }

  // A photo that is on show elsewhere, and those that belong to it; null for none.
  setOpened(id, others = []) {
    this.opened = id === null ? -1 : this.place.get(id) ?? -1;
    if (this.opened >= 0) this.current = this.opened;
    this.linked = others.map((other) => this.place.get(other)).filter((point) => point !== undefined);
    this.redraw();
  }

  open(point) {
    this.say(point);
    this.heard.open(this.ids[point]);
  }

  // The nearest point within some pixels of a place; -1 for none.
  at(x, y, within = 14) {
    let [found, best] = [-1, within ** 2];
    const reach = this.asPhotos ? this.painter.side(this) / 2 : 0;
    for (let place = this.count - 1; place >= 0; place--) {
      const point = this.order[place];
      if (this.selecting && !this.mask[point] && found >= 0) continue;
      const across = Math.max(0, Math.abs(this.x[point] - x) - reach * this.near[point]);
      const down = Math.max(0, Math.abs(this.y[point] - y) - reach * this.near[point]);
      const distance = across ** 2 + down ** 2;
      if (distance < best) [found, best] = [point, distance];
    }
    return found;
  }

  hover(point) {
    if (point === this.hovered) return;
    this.hovered = point;
    clearTimeout(this.carding);
    this.card(-1);
    if (point >= 0) this.carding = setTimeout(() => this.card(point), 125);
    this.canvas.classList.toggle("over", point >= 0);
    this.redraw();
  }

  card(point) {
    const card = this.box.querySelector(".map-card");
    card.hidden = point < 0;
    if (point < 0) return;
    const { title, lines } = this.heard.describe(point);
    const image = card.querySelector("img");
    const url = this.thumbnails?.url(point);
    image.hidden = !url;
    if (url) image.src = url;
    card.querySelector("strong").textContent = title;
    card.querySelector("p").replaceChildren(...lines.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    const left = Math.min(Math.max(8, this.x[point] + 16), this.camera.width - card.offsetWidth - 8);
    const above = this.y[point] - card.offsetHeight - 14;
    card.style.left = `${left}px`;
    card.style.top = `${above > 8 ? above : Math.min(this.y[point] + 16, this.camera.height - card.offsetHeight - 8)}px`;
  }

  // For a screen reader.
  say(point) {
    const { title, lines } = point < 0 ? { title: "", lines: [] } : this.heard.describe(point);
    this.box.querySelector(".map-said").textContent = [title, ...lines].filter(Boolean).join(", ");
  }

  setTool(tool) {
    this.tool = tool;
    this.canvas.dataset.tool = tool;
  }

  setAsPhotos(on) {
    this.asPhotos = on;
    this.redraw();
  }

  resize() {
    const [width, height] = [this.box.clientWidth, this.box.clientHeight];
    if (!width || !height || (width === this.camera.width && height === this.camera.height)) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    Object.assign(this.camera, { width, height });
    this.painter.ratio = ratio;
    if (this.positions && !this.camera.touched && !this.moving) this.fit();
    this.draw(); // at once: a canvas that was resized is empty
  }

  retheme() {
    this.painter.theme(this.box);
    this.redraw();
  }

  redraw() {
    this.frame ??= requestAnimationFrame((now) => {
      this.frame = null;
      if (this.moving) this.step(now);
      this.draw();
    });
  }

  draw() {
    if (this.positions) {
      this.camera.project(this.positions, this.dimensions, this.x, this.y, this.near);
      if (!this.flat) this.order.sort((a, b) => this.near[a] - this.near[b]); // far ones first
    }
    this.painter.paint(this);
  }
}
