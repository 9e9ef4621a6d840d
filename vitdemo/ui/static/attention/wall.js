// The wall of heads: a small map for each, tinted by what the head is like; one is open beside it and can be switched off.
import { button, make, radios } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { clsHeat, digits, tableOf } from "./heat.js";
import { drawBar, overlay, prepare } from "./overlay.js";
import { $, $$, ask, base, calm, columns, numbers, off, reader, rows, told, view } from "./state.js";

const DARKEST = 70; // of the tint's table: lower ones would drown in the ground
const TINTS = {
  entropy: "Entropy, in nats, averaged over all tokens: low heads stare at a few places, high ones look everywhere at once.",
  distance: "Mean distance, in pixels of the model's input, averaged over all patches: low heads look near by, high ones across the photo.",
};
export const wall = { tint: "entropy", open: null, cursor: [0, 0] };

export function listen() {
  const choose = (tint) => {
    wall.tint = tint;
    if (told) drawWall();
  };
  radios($(".att-tint"), choose, "tint");
  $(".att-tiles").addEventListener("click", (event) => {
    const tile = event.target.closest(".att-tile");
    if (!tile) return;
    openHead(tile.dataset.layer - 1, Number(tile.dataset.head));
    $(".att-open").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "nearest" }); // on a phone it stands below the wall
  });
  $(".att-tiles").addEventListener("focusin", (event) => {
    wall.cursor = [event.target.dataset.layer - 1, Number(event.target.dataset.head)];
    markWall();
  });
  $(".att-tiles").addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [place, head] = wall.cursor;
    tileOf(Math.min(told.layers - 1, Math.max(0, place + step[0])), Math.min(told.heads - 1, Math.max(0, head + step[1]))).focus();
  });
  $(".att-off").addEventListener("click", () => {
    const [place, head] = wall.open;
    const name = `${place + 1},${head}`;
    off.has(name) ? off.delete(name) : off.add(name);
    openHead(place, head);
    answerWithout();
  });
  $(".att-all-on").addEventListener("click", () => {
    off.clear();
    openHead(...wall.open);
    answerWithout();
  });
}

function shade() {
  const values = numbers[wall.tint];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const table = tableOf("viridis");
  const entryOf = (value) => 3 * Math.round(DARKEST + ((value - low) / (high - low || 1)) * (255 - DARKEST));
  return { values, low, high, table, entryOf };
}

export function drawWall() {
  const { values, low, high, table, entryOf } = shade();
  const box = $(".att-tiles");
  box.style.setProperty("--heads", told.heads);
  box.classList.toggle("two", told.heads <= 6); // two columns of layers where rows are short
  box.style.setProperty("--down", Math.ceil(told.layers / 2));
  const unit = wall.tint === "entropy" ? "nats" : "px";
  const lines = Array.from({ length: told.layers }, (_, place) => {
    const line = make("div", "att-tile-row");
    line.setAttribute("role", "row");
    const title = make("span", "att-tile-layer", String(place + 1));
    title.setAttribute("role", "rowheader");
    title.setAttribute("aria-label", `Layer ${place + 1}`);
    line.append(title);
    for (let head = 0; head < told.heads; head++) {
      const value = values[place * told.heads + head];
      const tile = button("att-tile");
      tile.setAttribute("role", "gridcell");
      tile.setAttribute("aria-label", `Layer ${place + 1}, head ${head}: ${value.toFixed(wall.tint === "entropy" ? 2 : 0)} ${unit}`);
      tile.title = tile.getAttribute("aria-label");
      [tile.dataset.layer, tile.dataset.head] = [place + 1, head];
      const small = Object.assign(make("canvas"), { width: columns(), height: rows() });
      const heats = clsHeat(place, head);
      const most = Math.max(...heats) || 1;
      const entry = entryOf(value);
      const image = small.getContext("2d").createImageData(small.width, small.height);
      // the square root brings out what a few hot patches would drown
      heats.forEach((heat, index) => {
        const share = Math.sqrt(heat / most);
        image.data.set([...[0, 1, 2].map((channel) => table[entry + channel] * share), 255], 4 * index);
      });
      small.getContext("2d").putImageData(image, 0, 0);
      tile.append(small);
      line.append(tile);
    }
    return line;
  });
  box.replaceChildren(...lines);
  drawBar($(".att-tint-bar"), table, DARKEST);
  $(".att-tint-low").textContent = low.toFixed(wall.tint === "entropy" ? 1 : 0);
  $(".att-tint-high").textContent = `${high.toFixed(wall.tint === "entropy" ? 1 : 0)} ${unit}`;
  $(".att-tint-why").textContent = TINTS[wall.tint];
  $(".att-wall-why").textContent = `What ${reader()} looks at through every head, a row for each layer. A click opens one.`;
  markWall();
}

const tileOf = (place, head) => $(`.att-tile[data-layer="${place + 1}"][data-head="${head}"]`);

export function markWall() {
  if (!told) return;
  for (const tile of $$(".att-tile")) {
    const { layer, head } = tile.dataset;
    const open = wall.open && wall.open[0] === layer - 1 && wall.open[1] === Number(head);
    tile.classList.toggle("off", off.has(`${layer},${head}`));
    tile.classList.toggle("open", Boolean(open));
    tile.tabIndex = wall.cursor[0] === layer - 1 && wall.cursor[1] === Number(head) ? 0 : -1;
  }
  $$(".att-tile-row").forEach((row, place) => row.classList.toggle("current", place + 1 === view.layer));
}

export function openHead(place, head) {
  wall.open = [place, head];
  wall.cursor = [place, head];
  const entropy = numbers.entropy[place * told.heads + head];
  const distance = numbers.distance[place * told.heads + head];
  $(".att-open-title").textContent = `Layer ${place + 1}, head ${head}`;
  $(".att-open-why").textContent = `Entropy ${entropy.toFixed(2)} nats, mean distance ${distance.toFixed(0)} pixels.`;
  $(".att-off").hidden = !told.headsOff;
  const isOff = off.has(`${place + 1},${head}`);
  $(".att-off").setAttribute("aria-pressed", isOff);
  $(".att-off").textContent = isOff ? "Switch this head on" : "Switch this head off";
  $(".att-all-on").hidden = off.size === 0;
  drawLarge();
  markWall();
}

// The opened head over the crop.
export function drawLarge() {
  if (!wall.open || !base) return;
  const large = $(".att-large");
  const heats = clsHeat(...wall.open);
  const scale = Math.min(2, 640 / Math.max(base.seen.right - base.seen.left, base.seen.bottom - base.seen.top));
  const prepared = (base.large ??= prepare($(".att-photo"), Math.round(base.width * scale), Math.round(base.height * scale)));
  const [low, high] = [Math.min(...heats), Math.max(...heats)];
  const look = { colours: view.colours, opacity: Math.max(0.5, view.opacity), smooth: view.smooth, flat: view.flat };
  const drawn = overlay(prepared, heats, [low, high], look);
  const { left, top, right, bottom } = prepared.seen;
  [large.width, large.height] = [right - left, bottom - top];
  large.getContext("2d").putImageData(drawn, -left, -top);
  large.setAttribute("aria-label", `${$(".att-open-title").textContent}: what ${reader()} looks at, from ${digits(low)} to ${digits(high)}`);
}

// The leading classes with all heads, and without those that are off.
let lastAblation = 0;
async function answerWithout() {
  const mine = ++lastAblation;
  const box = $(".att-moves");
  if (!off.size) {
    box.removeAttribute("aria-busy"); // of an answer without some, which is not waited for any more
    return drawMoves(told.top);
  }
  box.setAttribute("aria-busy", "true");
  const answer = await ask("ablate", { heads: [...off].map((name) => name.split(",").map(Number)) });
  if (mine !== lastAblation) return;
  box.removeAttribute("aria-busy");
  if (answer) drawMoves(answer.moves);
}

export function drawMoves(moves) {
  const count = off.size === 1 ? "one head" : `${off.size} heads`;
  const lead = off.size ? `With ${count} off, the answer moves:` : "The answer with all heads:";
  const lines = moves.map((move) => {
    const line = make("div", "att-move");
    const name = make("span", "att-move-name", move.name);
    const bars = make("div", "att-move-bars");
    for (const [kind, share] of [["before", move.probability], ...(off.size ? [["after", move.after]] : [])]) {
      const bar = make("i", kind);
      bar.style.width = `${100 * share}%`;
      bars.append(bar);
    }
    const text = off.size ? `${percent(move.probability)} → ${percent(move.after)}` : percent(move.probability);
    line.append(name, make("span", "att-move-text", text), bars);
    return line;
  });
  $(".att-moves").replaceChildren(make("p", "att-why", lead), ...lines);
}
