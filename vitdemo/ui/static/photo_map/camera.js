// Where points lie on the canvas: a flat map that is panned and zoomed, or one in space that is turned as well.

const MARGIN = 36; // pixels around a map that is shown whole

export class Camera {
  constructor() {
    this.width = 1; // of the canvas, in pixels of the page
    this.height = 1;
    this.centre = [0, 0, 0]; // of the points
    this.scale = 1; // pixels for a step of 1 among the points
    this.fitted = 1; // the scale that shows all points
    this.pan = [0, 0]; // pixels from the middle of the canvas to the centre
    this.yaw = 0.5; // radians
    this.pitch = 0.35;
    this.reach = 1; // of the farthest point from the centre
    this.touched = false; // somebody has moved it: a new layer leaves it alone
  }

  // What shows all of some points: {centre, scale, reach}, for (n, dimensions) positions.
  /** @param {ArrayLike<number>} positions @param {number} dimensions */
  fitting(positions, dimensions) {
    const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
    for (let at = 0; at < positions.length; at++) {
      const axis = at % dimensions;
      if (positions[at] < low[axis]) low[axis] = positions[at];
      if (positions[at] > high[axis]) high[axis] = positions[at];
    }
    const sides = low.map((least, axis) => (axis < dimensions && high[axis] >= least ? high[axis] - least : 0));
    const centre = low.map((least, axis) => (sides[axis] || Number.isFinite(least) ? (least + high[axis]) / 2 : 0));
    let reach = 0; // of the farthest point from the centre
    for (let at = 0; at < positions.length; at += dimensions) {
      const depth = dimensions === 3 ? positions[at + 2] - centre[2] : 0;
      reach = Math.max(reach, Math.hypot(positions[at] - centre[0], positions[at + 1] - centre[1], depth));
    }
    reach ||= 1;
    const [across, down] = [Math.max(60, this.width - 2 * MARGIN), Math.max(60, this.height - 2 * MARGIN)];
    const flat = Math.min(across / (sides[0] || 1e-9), down / (sides[1] || 1e-9));
    const scale = dimensions === 3 ? Math.min(across, down) / (2 * reach) : flat;
    return { centre, reach, scale: Number.isFinite(scale) && scale < 1e8 ? scale : 1 };
  }

  use({ centre, reach, scale }) {
    this.centre = centre;
    this.reach = reach;
    this.scale = scale;
    this.fitted = scale;
  }

  get zoom() {
    return this.scale / this.fitted;
  }

  // Zoom so that what lies under a place of the canvas stays there.
  zoomAt(factor, x, y) {
    const next = Math.min(400, Math.max(0.2, this.zoom * factor));
    factor = next / this.zoom;
    const [fromX, fromY] = [x - this.width / 2, y - this.height / 2];
    this.pan = [fromX - (fromX - this.pan[0]) * factor, fromY - (fromY - this.pan[1]) * factor];
    this.scale *= factor;
    this.touched = true;
  }

  move(x, y) {
    if (!x && !y) return;
    this.pan = [this.pan[0] + x, this.pan[1] + y];
    this.touched = true;
  }

  turn(x, y) {
    this.yaw += x * 0.008;
    this.pitch = Math.min(1.57, Math.max(-1.57, this.pitch + y * 0.008));
    this.touched = true;
  }

  // (n, dimensions) positions → x, y in pixels of the page, and nearness, about 1, larger in front.
  /**
   * @param {ArrayLike<number>} positions
   * @param {number} dimensions
   * @param {Float32Array} x one a point, written to, as are y and near
   * @param {Float32Array} y
   * @param {Float32Array} near
   */
  project(positions, dimensions, x, y, near) {
    const [cx, cy, cz] = this.centre;
    const [left, top] = [this.width / 2 + this.pan[0], this.height / 2 + this.pan[1]];
    const scale = this.scale;
    if (dimensions === 2) {
      for (let point = 0, at = 0; point < x.length; point++, at += 2) {
        x[point] = left + (positions[at] - cx) * scale;
        y[point] = top - (positions[at + 1] - cy) * scale;
        near[point] = 1;
      }
      return;
    }
    const [sinYaw, cosYaw, sinPitch, cosPitch] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    const eye = 3.5 * this.reach;
    for (let point = 0, at = 0; point < x.length; point++, at += 3) {
      const [dx, dy, dz] = [positions[at] - cx, positions[at + 1] - cy, positions[at + 2] - cz];
      const across = dx * cosYaw + dz * sinYaw;
      const depth = dz * cosYaw - dx * sinYaw;
      const up = dy * cosPitch - depth * sinPitch;
      const front = eye / (eye - (dy * sinPitch + depth * cosPitch));
      x[point] = left + across * scale * front;
      y[point] = top - up * scale * front;
      near[point] = front;
    }
  }
}
