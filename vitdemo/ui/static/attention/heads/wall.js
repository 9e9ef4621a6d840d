// The wall of heads: a small map for each, painted as on the stage, with what the head is like below it; one is open beside the wall.
import { button, make, radios, say } from "../../lib/dom.js";
import { clsHeat, digits, span, tableOf, withoutArtefacts } from "../heat.js";
import { drawBar, miniature, paintCrop } from "../overlay.js";
import { ordinal } from "../../lib/format.js";
import { effectOf, ledger, signed, voteOf, whose } from "./ledger.js";
import { $, $$, base, calm, follow, numbers, off, reader, told, view } from "../state.js";

const TILE = 72; // pixels of a tile's longer side
const [TITLE, GAP, SMALLEST, LARGEST, HIGH] = [24, 20, 36, 124, 800]; // pixels: a layer's number, between blocks, a tile, the wall
const REST = 100; // milliseconds
const TINTS = {
  entropy: "The strip under each map is its entropy, in nats, averaged over all tokens: low heads stare at a few places, high ones look everywhere at once.",
  votes: "The strip under each map is the head's vote in logits, for the class chosen above: red speaks for it, blue against it.",
  distance: "The strip under each map is its mean distance, in pixels of the model's input, averaged over all patches: low heads look near by, high ones across the photo.",
};
export const wall = { tint: "entropy", sorted: false, open: null, cursor: [0, 0], lines: [], blocks: 0 };
let waiting = 0;

export function listen() {
  follow("layer", markWall);
  follow("votes", () => {
    if (wall.tint === "votes") drawWall();
    if (wall.open) openHead(...wall.open);
  });
  const choose = (tint) => {
    wall.tint = tint;
    if (told) drawWall();
  };
  radios($(".att-tint"), choose, "tint");
  $(".att-sorted").addEventListener("input", (event) => {
    wall.sorted = event.target.checked;
    if (told) drawWall();
  });
  new ResizeObserver(() => told && $(".att-tiles").clientWidth && arrange()).observe($(".att-tiles"));
  $(".att-tiles").addEventListener("click", (event) => {
    const tile = event.target.closest(".att-tile");
    if (!tile) return;
    openHead(tile.dataset.layer - 1, Number(tile.dataset.head));
    $(".att-open").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "nearest" }); // on a phone it stands below the wall
  });
  $(".att-ledger-top").addEventListener("click", (event) => {
    const { layer, head } = event.target.closest("button")?.dataset ?? {};
    if (layer) showHead(layer - 1, Number(head));
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
}

const tint = () => (wall.tint === "votes" && !ledger ? "entropy" : wall.tint);
const UNITS = { entropy: ["nats", 2], distance: ["px", 0], votes: ["logits", 2] };

function shade() {
  const votes = tint() === "votes";
  const values = votes ? ledger.heads.flat() : numbers[tint()];
  const [low, high] = span(values, votes);
  const table = tableOf(votes ? "coolwarm" : "viridis");
  const colourOf = (value) => {
    const entry = 3 * Math.round((255 * (value - low)) / (high - low || 1));
    return `rgb(${table.subarray(entry, entry + 3).join(" ")})`;
  };
  return { values, low, high, table, colourOf };
}

export function drawWall() {
  const { values, low, high, table, colourOf } = shade();
  const [unit, places] = UNITS[tint()];
  const text = (value) => value.toFixed(places).replace("-", "−");
  wall.lines = Array.from({ length: told.layers }, (_, place) => {
    const line = lineOf("att-tile-row", "rowheader", String(place + 1), `Layer ${place + 1}`);
    const heads = Array.from({ length: told.heads }, (_, head) => head);
    if (wall.sorted) heads.sort((a, b) => values[place * told.heads + b] - values[place * told.heads + a]);
    for (const head of heads) {
      const value = values[place * told.heads + head];
      const tile = button("att-tile");
      tile.setAttribute("role", "gridcell");
      tile.setAttribute("aria-label", `Layer ${place + 1}, head ${head}: ${text(value)} ${unit}`);
      tile.title = tile.getAttribute("aria-label");
      [tile.dataset.layer, tile.dataset.head] = [place + 1, head];
      tile.style.setProperty("--tint", colourOf(value));
      tile.append(make("canvas"), make("small", "", String(head)));
      line.append(tile);
    }
    return line;
  });
  $(".att-tiles").style.setProperty("--heads", told.heads);
  $(".att-tiles").classList.toggle("sorted", wall.sorted);
  wall.blocks = 0;
  arrange();
  paint();
  drawBar($(".att-tint-bar"), table);
  $(".att-tint-low").textContent = text(low);
  $(".att-tint-high").textContent = `${text(high)} ${unit}`;
  $(".att-tint-why").textContent = TINTS[tint()];
  $(".att-wall-why").textContent =
    `What ${reader()} looks at through every head, each on its own scale: a row for each layer${wall.sorted ? "" : ", a column for each head"}.` +
    ` A click opens one.${numbers.artefacts.includes(1) ? ` Artefacts are ${view.artefacts ? "shown" : "left out"}.` : ""}`;
  const off = "This whole tab is without the heads struck out. The other tabs use all heads.";
  say($(".att-off-why"), told.off.length ? off : "");
  markWall();
}

function lineOf(className, role, text, label) {
  const line = make("div", className);
  line.setAttribute("role", "row");
  const title = make("span", "att-tile-title", text);
  title.setAttribute("role", role);
  title.setAttribute("aria-label", label);
  line.append(title);
  return line;
}

// The layers below each other, or in blocks beside each other: as few as keep the wall within a screen, where there is room for their tiles.
// Each block numbers its heads.
function arrange() {
  const box = $(".att-tiles");
  const tile = (blocks) => ((box.clientWidth + GAP) / blocks - GAP - TITLE) / told.heads;
  const high = (blocks) => Math.ceil(told.layers / blocks) * Math.min(LARGEST, tile(blocks));
  let blocks = 1;
  while (high(blocks) > HIGH && tile(blocks + 1) >= SMALLEST) blocks++;
  if (blocks === wall.blocks) return;
  wall.blocks = blocks;
  box.style.setProperty("--blocks", blocks);
  const each = Math.ceil(told.layers / blocks);
  const made = Array.from({ length: Math.ceil(told.layers / each) }, (_, block) => {
    const group = make("div", "att-tile-block");
    group.setAttribute("role", "rowgroup");
    const titles = lineOf("att-tile-heads", "gridcell", "", "Layer");
    for (let head = 0; head < told.heads; head++) {
      const title = make("span", "att-tile-title", wall.sorted ? "" : String(head));
      title.setAttribute("role", "columnheader");
      title.setAttribute("aria-label", wall.sorted ? `${ordinal(head + 1)} of the layer` : `Head ${head}`);
      titles.append(title);
    }
    group.append(titles, ...wall.lines.slice(block * each, (block + 1) * each));
    return group;
  });
  box.replaceChildren(...made);
}

// Each tile as the stage would paint it, over the crop.
function paint() {
  $(".att-tiles").removeAttribute("aria-busy");
  if (!told || !base) return;
  const prepared = (base.tile ??= miniature(base, $(".att-photo"), TILE));
  for (const tile of $$(".att-tile")) paintHead(tile.firstChild, prepared, headHeat(tile.dataset.layer - 1, Number(tile.dataset.head)));
}

// Once a slider rests: hundreds of tiles take longer than a frame.
export function repaint() {
  clearTimeout(waiting);
  $(".att-tiles").setAttribute("aria-busy", "true");
  waiting = setTimeout(paint, REST);
}

const headHeat = (place, head) => withoutArtefacts(clsHeat(place, head), place + 1);

const paintHead = (canvas, prepared, heats) => paintCrop(canvas, prepared, heats, span(heats, false), view);

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
  tellEffect(place, head);
  $(".att-off").hidden = !told.headsOff;
  const isOff = off.has(`${place + 1},${head}`);
  $(".att-off").setAttribute("aria-pressed", isOff);
  $(".att-off").textContent = isOff ? "Switch this head on" : "Switch this head off";
  $(".att-all-on").hidden = off.size === 0;
  drawLarge();
  markWall();
}

// The head's vote, which was read, and beside it what switching it off alone was measured to do.
function tellEffect(place, head) {
  $(".att-vote").hidden = !ledger;
  if (!ledger) return;
  const { vote, rank, of } = voteOf(place, head);
  const measured = effectOf(place, head);
  const effect = measured === undefined ? "not measured: switch it off alone" : `${signed(measured)} logits without it`;
  const parts = [["Vote", `${signed(vote)} logits for ${whose()}, ${ordinal(rank)} of ${of} by size`], ["Measured effect", effect]];
  $(".att-vote").replaceChildren(...parts.flatMap(([name, text]) => [make("dt", "", name), make("dd", "", text)]));
}

// Opens a head, and brings the wall into sight.
export function showHead(place, head) {
  openHead(place, head);
  tileOf(place, head).scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "center" });
  tileOf(place, head).focus({ preventScroll: true });
}

// The opened head over the crop.
export function drawLarge() {
  if (!wall.open || !base) return;
  const large = $(".att-large");
  const heats = headHeat(...wall.open);
  const prepared = (base.large ??= miniature(base, $(".att-photo"), 640));
  const [low, high] = span(heats, false);
  paintHead(large, prepared, heats);
  large.setAttribute("aria-label", `${$(".att-open-title").textContent}: what ${reader()} looks at, from ${digits(low)} to ${digits(high)}`);
}
