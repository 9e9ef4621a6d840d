// What a person does on the map: drag, wheel, pinch, lasso, box, arrow keys.

/** @import { PhotoMap } from "./map.js" */

export class MapHand {
  /** @param {PhotoMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Map<number, [number, number]>} */
    this.pointers = new Map(); // where each finger or mouse is
    /** @type {{spot: [number, number], moved: boolean, tool: string} | null} */
    this.began = null; // where one of them went down, and what it does
    this.pinched = 0; // pixels between two fingers
    /** @type {[number, number]} */
    this.middle = [0, 0]; // between them
    const { canvas } = map;
    const on = (kind, act, options) => canvas.addEventListener(kind, (event) => map.count && act.call(this, event), options);
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.cancel);
    on("pointerleave", () => map.hover(-1));
    on("wheel", this.wheel, { passive: false });
    on("keydown", this.key);
    on("blur", () => {
      map.current = map.opened;
      map.card(-1);
      map.redraw();
    });
  }

  /** @returns {[number, number]} */
  spot(event) {
    const box = this.map.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button > 0) return;
    const spot = this.spot(event);
    this.map.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, spot);
    this.map.hover(-1);
    if (this.pointers.size === 2) return this.pinch();
    this.began = { spot, moved: false, tool: this.map.tool === "pan" && event.shiftKey && this.map.flat ? "box" : this.map.tool };
  }

  pinch() {
    this.map.drawing = null;
    this.began = null;
    const [[ax, ay], [bx, by]] = [...this.pointers.values()];
    this.pinched = Math.hypot(ax - bx, ay - by);
    this.middle = [(ax + bx) / 2, (ay + by) / 2];
  }

  move(event) {
    const { map } = this;
    const spot = this.spot(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return event.pointerType === "touch" ? null : map.hover(map.at(...spot));
    this.pointers.set(event.pointerId, spot);
    if (this.pointers.size === 2) {
      const [from, middle] = [this.pinched, this.middle];
      this.pinch();
      map.camera.zoomAt(this.pinched / (from || 1), ...this.middle);
      map.camera.move(this.middle[0] - middle[0], this.middle[1] - middle[1]);
      return map.redraw();
    }
    if (!this.began) return;
    const [startX, startY] = this.began.spot;
    if (!this.began.moved && Math.hypot(spot[0] - startX, spot[1] - startY) < 4) return;
    this.began.moved = true;
    if (this.began.tool === "lasso") (map.drawing ??= [this.began.spot]).push(spot);
    else if (this.began.tool === "box") map.drawing = [[startX, startY], [spot[0], startY], spot, [startX, spot[1]]];
    else if (map.flat || event.shiftKey) map.camera.move(spot[0] - before[0], spot[1] - before[1]);
    else map.camera.turn(spot[0] - before[0], spot[1] - before[1]);
    map.redraw();
  }

  up(event) {
    const { map, began } = this;
    this.pointers.delete(event.pointerId);
    if (!began) return;
    this.began = null;
    const shape = map.drawing;
    map.drawing = null;
    if (shape) return this.enclose(shape, event.ctrlKey || event.metaKey);
    if (began.moved) return map.redraw();
    const point = map.at(...this.spot(event));
    if (point >= 0) map.open(point);
    else map.heard.close();
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.began = null;
    this.map.drawing = null;
    this.map.redraw();
  }

  // Choose what lies inside a line; with Ctrl, beside what is chosen already.
  enclose(shape, added) {
    const { map } = this;
    const chosen = [];
    for (let point = 0; point < map.count; point++) {
      if ((added && map.mask[point]) || inside(map.x[point], map.y[point], shape)) chosen.push(map.ids[point]);
    }
    map.select(chosen);
  }

  wheel(event) {
    event.preventDefault();
    const step = event.deltaMode ? event.deltaY * 30 : event.deltaY;
    this.map.hover(-1);
    this.map.camera.zoomAt(Math.exp(-Math.max(-120, Math.min(120, step)) * (event.ctrlKey ? 0.01 : 0.0022)), ...this.spot(event));
    this.map.redraw();
  }

  key(event) {
    const { map } = this;
    const ways = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    const middle = [map.camera.width / 2, map.camera.height / 2];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (ways[event.key]) this.walk(...ways[event.key]);
    else if (event.key === "Enter" || event.key === " ") map.current >= 0 && map.open(map.current);
    else if (event.key === "Escape") map.heard.close();
    else if (event.key === "+" || event.key === "=") map.camera.zoomAt(1.4, ...middle);
    else if (event.key === "-") map.camera.zoomAt(1 / 1.4, ...middle);
    else if (event.key === "0") map.fit();
    else return;
    event.preventDefault();
    map.redraw();
  }

  // To the nearest point in a direction, those straight ahead before those aside; the map follows.
  walk(across, down) {
    const { map } = this;
    const { camera } = map;
    const [x, y] = map.current >= 0 ? [map.x[map.current], map.y[map.current]] : [camera.width / 2, camera.height / 2];
    let [found, best] = [-1, Infinity];
    for (let point = 0; point < map.count; point++) {
      if (point === map.current || (map.selecting && !map.mask[point])) continue;
      const [dx, dy] = [map.x[point] - x, map.y[point] - y];
      const [ahead, aside] = [dx * across + dy * down, Math.abs(dx * down - dy * across)];
      const cost = map.current < 0 ? Math.hypot(dx, dy) : ahead > 0.01 ? ahead + 2.5 * aside : Infinity;
      if (cost < best) [found, best] = [point, cost];
    }
    if (found < 0) return;
    map.current = found;
    const edge = 40;
    const [toX, toY] = [map.x[found], map.y[found]];
    const back = (to, size) => Math.max(0, edge - to) - Math.max(0, to - size + edge); // into the canvas
    camera.move(back(toX, camera.width), back(toY, camera.height));
    map.draw();
    map.card(found);
    map.say(found);
  }
}

// Whether a place lies inside a closed line.
function inside(x, y, shape) {
  let within = false;
  for (let here = 0, last = shape.length - 1; here < shape.length; last = here++) {
    const [[ax, ay], [bx, by]] = [shape[here], shape[last]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
  }
  return within;
}
