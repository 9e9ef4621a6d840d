// The photos' small pictures, all in one file: as addresses for <img>, and on sheets for the canvas, decoded as they are wanted.
class Thumbnails {
  // bytes: the JPEGs one after the other; starts: where each begins, and where the last one ends. An empty one is no picture.
  constructor(bytes, starts, arrived) {
    Object.assign(this, { bytes, starts, arrived, urls: new Map(), sheets: [], drawn: new Uint8Array(starts.length - 1), wanted: [], busy: 0 });
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

  // Draw one at a place of a canvas; one that is not decoded yet will be.
  draw(context, point, x, y, side) {
    if (this.drawn[point] !== 2) {
      if (!this.drawn[point]) this.want(point);
      return;
    }
    const place = point % (ROW * ROW);
    const sheet = this.sheets[Math.floor(point / (ROW * ROW))];
    context.drawImage(sheet, (place % ROW) * CELL, Math.floor(place / ROW) * CELL, CELL, CELL, x, y, side, side);
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
const CELL = 56; // pixels a side on a sheet
const ROW = 24; // pictures in a sheet's row
