// How a map is drawn: points as dots or as photos, the chosen ones above the others, names on their groups, the hand's ring and lasso.
const LIFT = 15; // pixels of a group's name above its middle
const QUIET = 0.14; // of the points that are not chosen

function disc(colour, radius, hollow, edge, ratio) {
  const side = Math.ceil((2 * radius + 3) * ratio);
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d");
  context.arc(side / 2, side / 2, radius * ratio, 0, 7);
  context.fillStyle = hollow ? edge : colour;
  context.fill();
  context.lineWidth = (hollow ? 1.5 : 1) * ratio;
  context.strokeStyle = hollow ? colour : edge;
  context.stroke();
  return canvas;
}

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.discs = new Map();
    this.ratio = 1;
  }

  // What the theme says; discs are made anew for it.
  theme(element) {
    const style = getComputedStyle(element);
    this.ink = style.color;
    this.edge = style.getPropertyValue("--map-ground").trim() || "#ffffff";
    this.accent = style.getPropertyValue("--map-accent").trim() || "#0f766e";
    this.font = style.fontFamily;
    this.discs.clear();
  }

  disc(colour, radius, hollow) {
    const key = `${colour} ${radius} ${hollow}`;
    if (!this.discs.has(key)) this.discs.set(key, disc(colour, radius, hollow, this.edge, this.ratio));
    return this.discs.get(key);
  }

  radius(map) {
    const base = map.count > 3000 ? 3 : map.count > 800 ? 3.8 : map.count > 150 ? 5 : 6.5;
    return Math.min(11, base * Math.max(0.8, map.camera.zoom ** 0.35));
  }

  side(map) {
    const room = Math.sqrt((map.camera.width * map.camera.height) / Math.max(1, map.count));
    return Math.min(120, Math.max(16, 0.62 * room) * Math.max(0.7, map.camera.zoom ** 0.6));
  }

  paint(map) {
    const { context, ratio } = this;
    const { camera, x, y } = map;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    if (!map.count) return;
    const [radius, side] = [this.radius(map), this.side(map)];
    for (const chosen of map.selecting ? [0, 1] : [1]) {
      for (let place = 0; place < map.count; place++) {
        const point = map.order[place];
        if (map.selecting && map.mask[point] !== chosen) continue;
        this.point(map, point, radius, side, map.selecting && !chosen);
      }
    }
    context.globalAlpha = 1;
    this.links(map);
    if (map.labelled) this.labels(map);
    for (const point of [map.opened, map.current, map.hovered]) if (point >= 0) this.ring(map, point, point === map.opened, radius, side);
    this.hand(map);
  }

  point(map, point, radius, side, quiet) {
    const { context, ratio } = this;
    const [x, y, near] = [map.x[point], map.y[point], map.near[point]];
    const reach = (map.asPhotos ? side : radius) * near;
    if (x < -reach || y < -reach || x > map.camera.width + reach || y > map.camera.height + reach) return;
    const code = map.codes[point];
    context.globalAlpha = quiet ? QUIET : map.flat || map.asPhotos ? 1 : Math.min(1, 0.25 + 0.75 * (near - 0.7) * 1.4);
    if (map.asPhotos && map.thumbnails) {
      const size = side * near;
      if (map.thumbnails.draw(context, point, x - size / 2, y - size / 2, size)) {
        context.strokeStyle = map.palette[code];
        context.lineWidth = Math.max(1.5, size / 22);
        context.strokeRect(x - size / 2, y - size / 2, size, size);
        return;
      }
    }
    const shown = map.flat ? radius : Math.round(radius * near * 4) / 4;
    const image = this.disc(map.palette[code], shown, code === 0 && map.hollow);
    const width = image.width / ratio;
    context.drawImage(image, x - width / 2, y - width / 2, width, width);
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
    context.font = `600 12px ${this.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const taken = [];
    map.groups.forEach((group, index) => {
      const [x, y] = [xs[index], ys[index] - LIFT];
      const half = context.measureText(group.text).width / 2 + 4;
      const inside = x > half && x < map.camera.width - half && y > 10 && y < map.camera.height - 10;
      if (!inside || taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 17)) return;
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
