// The photos' small pictures, all in one file: as addresses for <img>, and on sheets for the canvas, decoded and scaled as they are wanted.

const CELL = 56; // pixels a side on a sheet
const ROW = 24; // pictures in a sheet's row
const AT_ONCE = 400; // pictures brought to a new size in one frame
const KEPT = 16e6; // pixels of scaled pictures that are kept

export class Thumbnails {
  /**
   * @param {Uint8Array<ArrayBuffer>} bytes the JPEGs one after the other
   * @param {ArrayLike<number>} starts where each begins, and where the last one ends. An empty one is no picture.
   * @param {() => void} arrived another picture can be drawn
   */
  constructor(bytes, starts, arrived) {
    this.bytes = bytes;
    this.starts = starts;
    this.arrived = arrived;
    /** @type {Map<number, string>} */
    this.urls = new Map(); // by point
    /** @type {HTMLCanvasElement[]} */
    this.sheets = [];
    /** @type {number[]} */
    this.wanted = []; // points whose pictures wait for their turn
    this.busy = 0; // how many are being decoded
    this.drawn = new Uint8Array(starts.length - 1); // 1 for pictures that are being decoded, 2 for those on a sheet
    /** @type {Map<number, {side: number, data: Uint32Array}>} */
    this.scaled = new Map(); // by point
    this.held = 0; // pixels in them
    this.left = 0; // new sizes that this frame may still make
    this.late = false; // this frame drew some in a size of before
    this.pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  }

  blob(point) {
    const data = this.bytes.subarray(this.starts[point], this.starts[point + 1]);
    return data.length ? new Blob([data], { type: "image/jpeg" }) : null;
  }

  url(point) {
    if (!this.urls.has(point)) {
      const blob = this.blob(point);
      this.urls.set(point, blob ? URL.createObjectURL(blob) : "");
    }
    return this.urls.get(point);
  }

  // One as a square of words, `side` pixels wide: as it was last where this frame has made enough new ones; null where it is not decoded
  // yet.
  words(point, side) {
    if (this.drawn[point] !== 2) {
      if (!this.drawn[point]) this.want(point);
      return null;
    }
    const known = this.scaled.get(point);
    if (known?.side === side) return known;
    if (!this.left && known) {
      this.late = true;
      return known;
    }
    this.left = Math.max(0, this.left - 1);
    const place = point % (ROW * ROW);
    const sheet = this.sheets[Math.floor(point / (ROW * ROW))];
    this.pen.canvas.width = this.pen.canvas.height = side;
    this.pen.drawImage(sheet, (place % ROW) * CELL, Math.floor(place / ROW) * CELL, CELL, CELL, 0, 0, side, side);
    const made = { side, data: new Uint32Array(this.pen.getImageData(0, 0, side, side).data.buffer) };
    this.held += side * side - (known ? known.side ** 2 : 0);
    if (this.held > KEPT) {
      this.scaled.clear();
      this.held = side * side;
    }
    this.scaled.set(point, made);
    return made;
  }

  // A new frame may make some new sizes.
  begin() {
    this.left = AT_ONCE;
    this.late = false;
  }

  want(point) {
    this.drawn[point] = 1;
    this.wanted.push(point);
    while (this.busy < 4 && this.wanted.length) this.decode(this.wanted.shift());
  }

  async decode(point) {
    this.busy++;
    try {
      const blob = this.blob(point);
      const image = blob && (await createImageBitmap(blob, { resizeWidth: CELL, resizeHeight: CELL, resizeQuality: "medium" }));
      if (image) {
        const sheet = Math.floor(point / (ROW * ROW));
        this.sheets[sheet] ??= Object.assign(document.createElement("canvas"), { width: ROW * CELL, height: ROW * CELL });
        const place = point % (ROW * ROW);
        this.sheets[sheet].getContext("2d").drawImage(image, (place % ROW) * CELL, Math.floor(place / ROW) * CELL);
        image.close();
        this.drawn[point] = 2;
      }
    } catch {
      // a damaged picture stays a dot
    }
    this.busy--;
    if (this.wanted.length) this.decode(this.wanted.shift());
    this.arrived();
  }

  forget() {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
    this.wanted.length = 0;
    this.arrived = () => {};
  }
}
