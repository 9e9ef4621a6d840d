// The map over the photo, pixel by pixel as the downloads draw it: a pixel takes the colour of the map where its centre lies on the grid.
const DIMMED = Math.round(256 * 0.45);
let base = null; // the photo's pixels, dimmed outside the crop: {width, height, bare, image}
let frame = 0;

function redraw() {
  if (!frame) frame = requestAnimationFrame(paintStage);
}

// How much of which patches in a line goes into each point: Keys's cubic convolution, or the one patch the point lies in.
function sampling(positions, count, smooth) {
  const taps = smooth ? 4 : 1;
  const places = new Int32Array(positions.length * taps);
  const shares = new Float32Array(positions.length * taps);
  positions.forEach((position, point) => {
    if (!smooth) {
      places[point] = Math.min(count - 1, Math.max(0, Math.floor(position)));
      shares[point] = 1;
      return;
    }
    const first = Math.floor(position - 0.5);
    const offset = position - 0.5 - first;
    for (let tap = 0; tap < 4; tap++) {
      const away = Math.abs(offset - (tap - 1));
      const near = (1.5 * away - 2.5) * away ** 2 + 1;
      const far = ((-0.5 * away + 2.5) * away - 4) * away + 2;
      places[4 * point + tap] = Math.min(count - 1, Math.max(0, first + tap - 1));
      shares[4 * point + tap] = away <= 1 ? near : far;
    }
  });
  return { taps, places, shares };
}

// The photo's pixels at a size, and where the crop and the patches lie on them.
function prepare(image, width, height, dim = true) {
  const { resized, offset, patch: side, grid } = told.geometry;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const bare = context.getImageData(0, 0, width, height);
  const edge = (place, axis, length) => ((place + offset[axis]) * length) / resized[axis];
  const crop = told.geometry.grid.map((count, axis) => count * side[1 - axis]); // height, width
  const left = Math.max(0, Math.round(edge(0, 0, width)));
  const top = Math.max(0, Math.round(edge(0, 1, height)));
  const right = Math.min(width, Math.round(edge(crop[1], 0, width)));
  const bottom = Math.min(height, Math.round(edge(crop[0], 1, height)));
  const points = (from, to, axis, length) =>
    Array.from({ length: to - from }, (_, index) => (((from + index + 0.5) * resized[axis]) / length - offset[axis]) / side[axis]);
  const seen = { left, top, right, bottom, x: points(left, right, 0, width), y: points(top, bottom, 1, height) };
  const drawn = new ImageData(new Uint8ClampedArray(bare.data), width, height);
  for (let y = 0, at = 0; dim && y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      if (x >= left && x < right && y >= top && y < bottom) continue;
      for (let channel = 0; channel < 3; channel++) drawn.data[at + channel] = (bare.data[at + channel] * DIMMED) >> 8;
    }
  }
  const both = (smooth) => ({ across: sampling(seen.x, grid[1], smooth), down: sampling(seen.y, grid[0], smooth) });
  return { width, height, bare, drawn, seen, true: both(true), false: both(false) };
}

// Lay a map over prepared pixels, in place.
function overlay(prepared, values, [low, high], look) {
  const { width, bare, drawn, seen } = prepared;
  const { across, down } = prepared[look.smooth];
  const [gridRows, gridColumns] = told.geometry.grid;
  const scale = high > low ? 255 / (high - low) : 0;
  const wide = seen.right - seen.left;
  const lines = Array.from({ length: gridRows }, (_, row) => {
    const line = new Float32Array(wide);
    for (let x = 0; x < wide; x++) {
      let value = 0;
      for (let tap = 0; tap < across.taps; tap++) {
        value += across.shares[across.taps * x + tap] * ((values[row * gridColumns + across.places[across.taps * x + tap]] - low) * scale);
      }
      line[x] = value;
    }
    return line;
  });
  const alpha = Math.round(256 * look.opacity);
  const under = 256 - alpha;
  const table = Uint16Array.from(tableOf(look.colours), (value) => value * alpha + 128);
  const level = new Float32Array(wide);
  for (let y = seen.top; y < seen.bottom; y++) {
    level.fill(0);
    for (let tap = 0; tap < down.taps; tap++) {
      const at = down.taps * (y - seen.top) + tap;
      const line = lines[down.places[at]];
      const share = down.shares[at];
      for (let x = 0; x < wide; x++) level[x] += share * line[x];
    }
    let at = 4 * (y * width + seen.left);
    for (let x = 0; x < wide; x++, at += 4) {
      const value = level[x];
      const entry = 3 * (value <= 0 ? 0 : value >= 255 ? 255 : (value + 0.5) | 0);
      drawn.data[at] = (table[entry] + bare.data[at] * under) >> 8;
      drawn.data[at + 1] = (table[entry + 1] + bare.data[at + 1] * under) >> 8;
      drawn.data[at + 2] = (table[entry + 2] + bare.data[at + 2] * under) >> 8;
    }
  }
  return drawn;
}

const touched = () => matchMedia("(hover: none)").matches;
const HINTS = {
  mouse: ["Hover a patch to see what it looks at. Click holds it.", "Held. Click it again, or press Escape, to let go."],
  touch: ["Tap a patch to see what it looks at.", "Held. Tap it again to let go."],
};

function paintStage() {
  frame = 0;
  if (!told || !base) return;
  const values = drawable(heat());
  if (values) {
    const ends = span(values);
    const began = performance.now();
    const look = { colours: colours(), opacity: view.opacity, smooth: view.smooth };
    $(".att-heat").getContext("2d").putImageData(overlay(base, values, ends, look), 0, 0);
    explorer.dataset.drawn = (performance.now() - began).toFixed(1);
    $(".att-low").textContent = digits(ends[0]);
    $(".att-high").textContent = `${view.even && !signed() ? "≥ " : ""}${digits(ends[1])}`;
    drawBar($(".att-bar"), tableOf(colours()));
    $(".att-title").textContent = titled(); // of what is drawn: while numbers are on their way, the map before them keeps its own
  }
  $(".att-heat").style.clipPath = view.split ? `inset(0 0 0 ${100 * view.split}%)` : "";
  $(".att-divider").hidden = !view.split;
  $(".att-divider").style.left = `${100 * view.split}%`;
  mark();
  const held = view.held && !view.hover;
  $(".att-hint").textContent = HINTS[touched() ? "touch" : "mouse"][held ? 1 : 0];
}

function drawBar(canvas, table, first = 0) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, 1);
  for (let x = 0; x < canvas.width; x++) {
    const entry = 3 * Math.round(first + (x * (255 - first)) / (canvas.width - 1));
    image.data.set([table[entry], table[entry + 1], table[entry + 2], 255], 4 * x);
  }
  context.putImageData(image, 0, 0);
}

// The frame, the grid and the patch that is asked, in lines that stay thin at any size.
function mark() {
  const { box, photo } = told.geometry;
  const [left, top, right, bottom] = box;
  $(".att-marks").setAttribute("viewBox", `0 0 ${photo[0]} ${photo[1]}`);
  const whole = told.geometry.seen > 0.9999;
  const outline = $(".att-framed").checked && !whole ? `M${left} ${top}H${right}V${bottom}H${left}Z` : "";
  let lines = "";
  if ($(".att-gridded").checked) {
    for (let row = 1; row < rows(); row++) lines += `M${left} ${top + ((bottom - top) * row) / rows()}H${right}`;
    for (let column = 1; column < columns(); column++) lines += `M${left + ((right - left) * column) / columns()} ${top}V${bottom}`;
  }
  let cursor = "";
  if (patch()) {
    const [x, y, x2, y2] = boxOf(...patch());
    cursor = `M${x} ${y}H${x2}V${y2}H${x}Z`;
  }
  for (const [name, path] of [["outline", outline], ["grid", lines], ["cursor", cursor]]) {
    $$(`.att-marks .att-${name}`).forEach((each) => each.setAttribute("d", path));
  }
  $(".att-marks").classList.toggle("held", Boolean(view.held && !view.hover));
}

function boxOf(row, column) {
  const [left, top, right, bottom] = told.geometry.box;
  const [wide, high] = [(right - left) / columns(), (bottom - top) / rows()];
  return [left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high];
}
