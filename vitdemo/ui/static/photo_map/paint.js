// How a map is drawn: points as dots or as photos, the chosen ones above the others, names on their groups, the hand's ring and lasso.
import { Pixels } from "./pixels.js";

export const LIFT = 15; // pixels of a group's name above its middle, where the page's text has 16
export const QUIET = 0.14; // of the points that are not chosen

// A photo's size in whole pixels, in steps of 8 %: while the map zooms, few sizes are made.
const stepped = (side) => Math.round(1.08 ** Math.round(Math.log(side) / Math.log(1.08)));

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pixels = new Pixels();
    this.channels = new Map();
    this.ratio = this.scale = 1;
  }

  // What the theme says.
  theme(element) {
    const style = getComputedStyle(element);
    this.ink = style.color;
    this.edge = style.getPropertyValue("--map-ground").trim() || "#ffffff";
    this.accent = style.getPropertyValue("--map-accent").trim() || "#0f766e";
    this.font = style.fontFamily;
    this.scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16; // larger on a large screen, as the page's text
  }

  // A colour of CSS as [red, green, blue].
  rgb(colour) {
    if (!this.channels.has(colour)) {
      this.context.fillStyle = colour;
      const text = this.context.fillStyle; // #rrggbb, or rgba(…) where it is translucent
      const hex = text[0] === "#" ? text.slice(1).match(/../g).map((digits) => parseInt(digits, 16)) : null;
      this.channels.set(colour, hex || text.match(/[\d.]+/g).slice(0, 3).map(Number));
    }
    return this.channels.get(colour);
  }

  radius(map) {
    const base = map.count > 3000 ? 3 : map.count > 800 ? 3.8 : map.count > 150 ? 5 : 6.5;
    return this.scale * Math.min(11, base * Math.max(0.8, map.camera.zoom ** 0.35));
  }

  side(map) {
    const room = Math.sqrt((map.camera.width * map.camera.height) / Math.max(1, map.count));
    return Math.min(120 * this.scale, Math.max(16, 0.62 * room) * Math.max(0.7, map.camera.zoom ** 0.6));
  }

  paint(map) {
    const { context, canvas, ratio } = this;
    const [radius, side] = [this.radius(map), this.side(map)];
    const asPhotos = map.asPhotos && map.thumbnails;
    this.pixels.clear(canvas.width, canvas.height, this.rgb(this.edge));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (asPhotos) map.thumbnails.begin();
    for (const chosen of map.selecting ? [0, 1] : [1]) {
      for (let place = 0; place < map.count; place++) {
        const point = map.order[place];
        if (map.selecting && map.mask[point] !== chosen) continue;
        const quiet = map.selecting && !chosen;
        if (asPhotos) this.photo(map, point, side * map.near[point], quiet);
        else this.dot(map, point, radius * map.near[point], quiet);
      }
    }
    context.putImageData(this.pixels.image, 0, 0);
    if (asPhotos && map.thumbnails.late) map.redraw();
    if (!map.count) return;
    this.links(map);
    if (map.labelled) this.labels(map);
    for (const point of [map.opened, map.current, map.hovered]) {
      if (point >= 0) this.ring(map, point, point === map.opened, radius, side);
    }
    this.hand(map);
  }

  dot(map, point, radius, quiet) {
    const { ratio } = this;
    const [x, y, near] = [map.x[point], map.y[point], map.near[point]];
    if (x < -radius || y < -radius || x > map.camera.width + radius || y > map.camera.height + radius) return;
    const code = map.codes[point];
    const [colour, ground] = [this.rgb(map.palette[code]), this.rgb(this.edge)];
    const opacity = quiet ? QUIET : map.flat ? 1 : Math.min(1, Math.max(0.3, 0.3 + 1.4 * (near - 0.75)));
    if (code === 0 && map.hollow) this.pixels.dot(x * ratio, y * ratio, (radius - 1.5) * ratio, 1.5 * ratio, ground, colour, opacity);
    else this.pixels.dot(x * ratio, y * ratio, radius * ratio, 0.9 * ratio, colour, ground, opacity);
  }

  photo(map, point, side, quiet) {
    const { ratio } = this;
    const [x, y] = [map.x[point], map.y[point]];
    if (x < -side || y < -side || x > map.camera.width + side || y > map.camera.height + side) return;
    const wide = stepped(side * ratio);
    const picture = map.thumbnails.words(point, wide);
    const frame = Math.max(1, Math.round(wide / 24));
    const colour = this.rgb(map.palette[map.codes[point]]);
    this.pixels.picture(x * ratio, y * ratio, picture?.side ?? wide, picture?.data, frame, colour, quiet ? QUIET : 1);
  }

  ring(map, point, opened, radius, side) {
    const { context } = this;
    const reach = (map.asPhotos ? side / 2 : radius) * map.near[point] + 3;
    for (const [colour, width] of [[this.edge, 5], [opened ? this.accent : this.ink, 2.25]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      if (map.asPhotos) context.rect(map.x[point] - reach, map.y[point] - reach, 2 * reach, 2 * reach);
      else context.arc(map.x[point], map.y[point], reach, 0, 7);
      context.stroke();
    }
  }

  // From the open photo to its neighbours among the vectors, which need not be its neighbours on the map.
  links(map) {
    if (map.opened < 0 || !map.linked.length) return;
    const { context } = this;
    context.strokeStyle = this.accent;
    context.lineWidth = 1.25;
    context.globalAlpha = 0.8;
    context.beginPath();
    for (const point of map.linked) {
      context.moveTo(map.x[map.opened], map.y[map.opened]);
      context.lineTo(map.x[point], map.y[point]);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  // Each group's name in its middle, the largest groups first, none over another.
  labels(map) {
    const { context } = this;
    const { x: xs, y: ys } = map.anchors();
    const { scale } = this;
    context.font = `600 ${12 * scale}px ${this.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const taken = [];
    map.groups.forEach((group, index) => {
      const [x, y] = [xs[index], ys[index] - LIFT * scale];
      const half = context.measureText(group.text).width / 2 + 4;
      const inside = x > half && x < map.camera.width - half && y > 10 * scale && y < map.camera.height - 10 * scale;
      if (!inside || taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 17 * scale)) return;
      taken.push({ x, y, half });
      context.strokeStyle = this.edge;
      context.lineWidth = 4;
      context.strokeText(group.text, x, y);
      context.fillStyle = this.ink;
      context.fillText(group.text, x, y);
    });
  }

  hand(map) {
    if (!map.drawing) return;
    const { context } = this;
    context.beginPath();
    map.drawing.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.globalAlpha = 0.12;
    context.fillStyle = this.accent;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = this.accent;
    context.lineWidth = 1.5;
    context.stroke();
  }
}
