// Dots and photos written straight into the canvas's pixels: thousands take a few milliseconds, where the canvas's own circles or pictures
// take fifty and more.

export class Pixels {
  constructor() {
    this.masks = new Map();
  }

  // All of the canvas in one colour, [red, green, blue].
  clear(width, height, ground) {
    if (this.image?.width !== width || this.image?.height !== height) {
      this.image = new ImageData(width, height);
      this.words = new Uint32Array(this.image.data.buffer);
    }
    this.words.fill(word(ground));
  }

  // A disc of `inner` in a rim of `rim`, both [red, green, blue]; places and radii in pixels of the canvas.
  dot(x, y, radius, width, inner, rim, opacity) {
    const { image, words } = this;
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const mask = this.mask(Math.round(4 * radius), Math.round(4 * width), Math.floor(4 * (x - left)), Math.floor(4 * (y - top)));
    const data = image.data;
    const inside = left - mask.reach >= 0 && top - mask.reach >= 0 && left + mask.reach < image.width && top + mask.reach < image.height;
    const full = opacity === 1 ? word(inner) : 0;
    for (let at = 0; at < mask.across.length; at++) {
      const [column, row] = [left + mask.across[at], top + mask.down[at]];
      if (!inside && (column < 0 || row < 0 || column >= image.width || row >= image.height)) continue;
      const pixel = row * image.width + column;
      if (full && mask.inner[at] === 1) {
        words[pixel] = full;
        continue;
      }
      const [front, edge] = [mask.inner[at] * opacity, (mask.outer[at] - mask.inner[at]) * opacity];
      const rest = 1 - front - edge;
      for (let channel = 0; channel < 3; channel++) {
        data[4 * pixel + channel] = data[4 * pixel + channel] * rest + inner[channel] * front + rim[channel] * edge + 0.5;
      }
    }
  }

  // A square picture, its pixels as words, in a frame of one colour; its middle in pixels of the canvas.
  picture(x, y, side, source, frame, colour, opacity) {
    const [left, top] = [Math.round(x - side / 2), Math.round(y - side / 2)];
    const { width, height } = this.image;
    const [first, last] = [Math.max(0, left - frame), Math.min(width, left + side + frame)];
    const edge = word(colour);
    for (let row = Math.max(0, top - frame); row < Math.min(height, top + side + frame); row++) {
      const inside = source && row >= top && row < top + side;
      const from = (row - top) * side - left;
      for (let column = first; column < last; column++) {
        const value = inside && column >= left && column < left + side ? source[from + column] : edge;
        const at = row * width + column;
        this.words[at] = opacity === 1 ? value : mixed(this.words[at], value, opacity);
      }
    }
  }

  // Which pixels a disc covers, and how much of each; all four numbers in quarters of a pixel.
  mask(radius, width, fromLeft, fromTop) {
    const key = ((radius * 64 + width) * 4 + fromLeft) * 4 + fromTop;
    if (this.masks.has(key)) return this.masks.get(key);
    const [whole, core] = [(radius + width) / 4, radius / 4];
    const reach = Math.ceil(whole + 1);
    const mask = { reach, across: [], down: [], outer: [], inner: [] };
    const covered = (size, far) => Math.min(1, Math.max(0, size + 0.5 - far));
    for (let down = -reach; down <= reach; down++) {
      for (let across = -reach; across <= reach; across++) {
        const far = Math.hypot(across + 0.375 - fromLeft / 4, down + 0.375 - fromTop / 4);
        if (covered(whole, far) <= 0) continue;
        mask.across.push(across);
        mask.down.push(down);
        mask.outer.push(covered(whole, far));
        mask.inner.push(covered(core, far));
      }
    }
    this.masks.set(key, mask);
    return mask;
  }
}

// A colour, [red, green, blue], as a word of the canvas's pixels.
const word = ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red;

const mixed = (under, over, share) => {
  let found = 255 << 24;
  for (let shift = 0; shift < 24; shift += 8) {
    const below = (under >>> shift) & 255;
    found |= Math.round(below + (((over >>> shift) & 255) - below) * share) << shift;
  }
  return found;
};
