// A map of photos on a canvas. It knows where points lie, how they are coloured and which are chosen; what it is told by hand it passes on.
import { finders } from "../lib/dom.js";
import { shownName } from "../lib/format.js";
import { Camera } from "./camera.js";
import { GREY } from "./colours.js";
import { Painter } from "./paint.js";
import { MapHand } from "./pointer.js";

const MOVING = 750; // milliseconds from one layer's map to the next
const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (share) => (share < 0.5 ? 4 * share ** 3 : 1 - (2 - 2 * share) ** 3 / 2);

/**
 * @import { Colours } from "./colours.js"
 * @import { Thumbnails } from "./thumbnails.js"
 */

export class PhotoMap {
  /**
   * @param {HTMLElement} box the element around .map-canvas, .map-card and .map-said
   * @param {object} heard
   * @param {(id: number) => void} heard.open
   * @param {() => void} heard.close
   * @param {(ids: number[]) => void} heard.select
   * @param {(point: number) => {title: string, lines: string[]}} heard.describe
   */
  constructor(box, heard) {
    this.box = box;
    this.find = finders(box).$;
    this.heard = heard;
    /** @type {HTMLCanvasElement & {photoMap?: PhotoMap}} */
    this.canvas = this.find(".map-canvas");
    this.canvas.photoMap = this;
    this.camera = new Camera();
    this.painter = new Painter(this.canvas);
    this.tool = "pan"; // or "lasso", or "box"
    this.asPhotos = false; // points are drawn as photos, not as dots
    /** @type {number | null} */
    this.frame = null; // the one in which it is drawn again
    this.carding = 0; // the timer of a card that shows soon
    /** @type {{middle: Float32Array, x: Float32Array, y: Float32Array, near: Float32Array} | null} */
    this.anchored = null; // where the groups' names stand, once they were asked for
    /** @type {Thumbnails | null} */
    this.thumbnails = null;
    this.setPhotos([], null);
    new ResizeObserver(() => this.resize()).observe(box);
    this.painter.theme(box);
    new MutationObserver(() => this.retheme()).observe(document.body, { attributeFilter: ["class"] });
    new MapHand(this);
  }

  // ids: one a point, in order. Whatever was on the map goes.
  /** @param {number[]} ids @param {Thumbnails | null} thumbnails */
  setPhotos(ids, thumbnails) {
    this.thumbnails?.forget();
    this.thumbnails = thumbnails;
    if (thumbnails) thumbnails.arrived = () => this.redraw();
    this.count = ids.length;
    this.ids = ids;
    this.place = new Map(ids.map((id, point) => [id, point]));
    this.x = new Float32Array(this.count); // on the canvas
    this.y = new Float32Array(this.count);
    this.near = new Float32Array(this.count).fill(1);
    this.order = Uint32Array.from(ids, (_, point) => point); // in which they are drawn
    this.mask = new Uint8Array(this.count); // 1 for the chosen ones
    this.codes = new Uint16Array(this.count);
    this.palette = [GREY];
    this.hollow = false;
    this.labelled = false;
    /** @type {{text: string, points: number[]}[]} */
    this.groups = [];
    this.put(null, 2);
    this.selecting = false; // some are chosen
    // Points, -1 for none.
    this.opened = -1; // on show elsewhere
    this.current = -1; // where the arrow keys are
    this.hovered = -1; // under the mouse
    /** @type {number[]} */
    this.linked = []; // points that belong to the open one
    /** @type {[number, number][] | null} */
    this.drawing = null; // the corners of a lasso or a box
    this.camera.touched = false;
    this.redraw();
  }

  // Where the points lie, at once: (points, dimensions).
  /** @param {Float32Array | null} positions @param {number} dimensions 2 or 3 */
  put(positions, dimensions) {
    this.positions = positions;
    this.dimensions = dimensions;
    this.flat = dimensions === 2;
    this.moving = null;
  }

  // (points, dimensions): the points move there from where they are.
  /** @param {Float32Array} positions @param {number} dimensions 2 or 3 */
  setPositions(positions, dimensions) {
    const camera = this.camera;
    const before = this.positions;
    const turned = before && dimensions !== this.dimensions;
    if (!before || turned) camera.touched = false;
    if (!before || still.matches || !this.box.offsetWidth) {
      this.put(positions, dimensions);
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
    this.put(Float32Array.from(start), wide);
    this.moving = { from: start, to, camera: from, target, began: performance.now(), positions, dimensions };
    this.redraw();
  }

  step(now) {
    const { from, to, camera, target, began, positions, dimensions } = this.moving;
    const share = Math.min(1, (now - began) / MOVING);
    const part = ease(share);
    const between = (a, b) => (Array.isArray(a) ? a.map((value, index) => value + (b[index] - value) * part) : a + (b - a) * part);
    if (share === 1) {
      this.put(positions, dimensions);
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
    this.camera.pan = [0, 0];
    this.camera.touched = false;
    this.redraw();
  }

  // As colourByName or colourByValue give it. hollow: points of the first colour are rings; labelled: groups have their names on the map.
  /** @param {Colours} colours @param {{hollow?: boolean, labelled?: boolean}} how */
  setColours({ codes, palette, names = [], entries = [] }, { hollow = false, labelled = false } = {}) {
    this.codes = codes;
    this.palette = palette;
    this.hollow = hollow;
    this.labelled = labelled;
    const points = new Map(entries.filter((entry) => entry.name).map((entry) => [entry.name, []]));
    if (labelled) names.forEach((name, point) => points.get(name)?.push(point));
    this.groups = labelled ? [...points].map(([text, points]) => ({ text: shownName(text, 28), points })) : [];
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
    const card = this.find(".map-card");
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
    this.find(".map-said").textContent = [title, ...lines].filter(Boolean).join(", ");
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
    this.camera.width = width;
    this.camera.height = height;
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
