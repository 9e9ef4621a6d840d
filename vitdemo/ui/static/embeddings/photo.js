// Beside the map: its groups, one photo with its neighbours and its patches, or the chosen photos.
import { bytesOf } from "../lib/arrays.js";
import { barLines, button, make, pause, radios } from "../lib/dom.js";
import { count, percent } from "../lib/format.js";
import { file, rpc } from "../lib/rpc.js";
import { NAMED, scaleColour } from "../photo_map/colours.js";
import { problem, tab } from "./shared.js";

const VIEWS = {
  photo: "On the map, lines lead to its nearest neighbours in the embedding.",
  colours: "Patches of one colour are similar in this layer, here and below, in the neighbours or the selected photos.",
  parts: "Kinds of patches that recur in the gallery, a colour each. Click one to see where it is most itself.",
  alike: "Click a patch, or use the arrow keys. Similar patches light up, here and below, in the neighbours or the selected photos.",
};
const MOST = 8; // photos below the open one
let opened = null; // what the server said of the open photo
let opening = 0;
let look = "photo"; // one of VIEWS
let place = null; // the patch whose likes are lit, [row, column]
let moving = 0; // the timer of the arrow keys' newest patch
let setTab; // in silence
let shownParts = null; // of the open photo, a byte a patch
let part = null; // the part that is chosen, by its number

// Shows one of the three parts: "groups", "photo" or "chosen".
export function showTab(name) {
  setTab(name);
  for (const part of ["groups", "photo", "chosen"]) tab.$(`.emb-${part}`).hidden = part !== name;
}

// A photo as a button that opens it; ofPhoto: with a canvas for its patches.
export function tile(id, text, ofPhoto) {
  const { panel } = tab;
  const row = panel.row(id);
  const box = button("emb-tile");
  box.dataset.id = id;
  const src = panel.map.thumbnails.url(panel.map.place.get(id));
  const image = Object.assign(new Image(), { alt: row.name.split("/").at(-1), src });
  box.title = [row.name, row.label].filter(Boolean).join(" · ");
  box.append(image);
  if (ofPhoto) box.append(Object.assign(make("canvas"), { width: 1, height: 1, hidden: true }));
  if (text) box.append(make("small", "", text));
  return box;
}

export async function openPhoto(id) {
  const { $, panel } = tab;
  const mine = ++opening;
  panel.map.setOpened(id);
  showTab("photo");
  const answer = await rpc("embeddings/photo", { gallery: tab.gallery.id, id, ...tab.shown });
  if (mine !== opening) return;
  if (!answer || answer.error) return problem(answer?.error || "The photo could not be fetched: try again.");
  problem("");
  const fresh = opened?.id !== id;
  opened = { ...answer, id };
  panel.map.setOpened(id, answer.neighbours.slice(0, 6).map((neighbour) => neighbour.id));
  $(".emb-none").hidden = true;
  $(".emb-open").hidden = false;
  const folders = answer.name.split("/");
  $(".emb-name").textContent = folders.pop();
  const like = (words, ids) => (ids.length ? `${words} ${ids.length === 1 ? panel.row(ids[0]).name : `${ids.length} others`}` : "");
  const said = [
    folders.length ? `in ${folders.join("/")}` : "",
    like("the same file as", answer.same),
    like("nearly the same picture as", answer.almost),
    panel.numbers.outlying[panel.map.place.get(id)] ? "far from all others in this layer" : "",
    ...answer.notes,
  ];
  $(".emb-where").textContent = said.filter(Boolean).join(" · ");
  $(".emb-predictions").replaceChildren(...barLines(answer.predictions, percent));
  if (fresh) [place, part] = [null, null];
  showView();
}

export function closePhoto() {
  const { $, panel } = tab;
  opening++;
  opened = null;
  panel.map.setOpened(null);
  $(".emb-none").hidden = false;
  $(".emb-open").hidden = true;
  if (!$(".emb-photo").hidden) showTab("groups");
}

// The neighbours are another layer's now.
export const refreshPhoto = () => opened && openPhoto(opened.id);

// Patches

// What stands below the photo: its neighbours; where patches are compared, the chosen photos instead, if there are some.
function drawNear() {
  const { $, chosen, shown } = tab;
  const others = look === "photo" ? [] : chosen.filter((row) => row.id !== opened.id).slice(0, MOST);
  const near = opened.neighbours.slice(0, MOST);
  const where = shown.layer === "final" ? "in the final layer" : `in layer ${shown.layer}`;
  $(".emb-near-title").textContent = others.length ? "Selected photos" : near.length ? `Nearest ${where}` : "";
  const tiles = others.length
    ? others.map((row) => tile(row.id, "", true))
    : near.map(({ id, similarity }) => tile(id, similarity.toFixed(3), true));
  $(".emb-near").replaceChildren(...tiles);
  return [opened.id, ...(others.length ? others : near).map(({ id }) => id)];
}

// Draws what is wanted of the photo; `again` with the same photos below.
async function showView(again = false) {
  const { $, $$ } = tab;
  const view = look;
  const ids = again ? [opened.id, ...$$(".emb-near [data-id]").map((near) => Number(near.dataset.id))] : drawNear();
  const canvas = $(".emb-patches");
  const image = $(".emb-image");
  image.src = file(look === "photo" ? opened.photo : opened.crop);
  image.alt = opened.name;
  $(".emb-view-why").textContent = look === "photo" && !opened.neighbours.length ? "The gallery has no other photo to compare it with." : VIEWS[look];
  canvas.dataset.view = look;
  if (look !== "alike" && $(".emb-patch")) $(".emb-patch").hidden = true;
  $(".emb-parts-stop").hidden = true;
  canvas.hidden = look === "photo";
  if (canvas.hidden) return $(".emb-picture").removeAttribute("aria-busy");
  const [rows, columns] = opened.grid;
  place ??= [rows >> 1, columns >> 1];
  const mine = opening;
  const asking = { gallery: tab.gallery.id, ids, layer: tab.shown.layer, row: place[0], column: place[1] };
  $(".emb-picture").setAttribute("aria-busy", true);
  const answer = view === "parts" ? await partsOf(asking) : await rpc(`embeddings/${view}`, asking);
  if (mine !== opening || view !== look || (view === "alike" && (place[0] !== asking.row || place[1] !== asking.column))) return;
  $(".emb-picture").removeAttribute("aria-busy");
  if (!answer || answer.error) return problem(answer?.error || "The patches could not be fetched: try again.");
  const [, high, wide] = answer.shape;
  const paint = { colours: colourPainter, alike: heatPainter, parts: partPainter }[look](answer);
  const canvases = [canvas, ...$$(".emb-near canvas")];
  canvases.forEach((overlay, photo) => {
    overlay.hidden = photo >= ids.length;
    if (overlay.hidden) return;
    [overlay.width, overlay.height] = [wide, high];
    const pixels = new ImageData(wide, high);
    for (let patch = 0; patch < wide * high; patch++) paint(pixels.data, 4 * patch, photo * wide * high + patch);
    overlay.getContext("2d").putImageData(pixels, 0, 0);
  });
  $(".emb-picture").style.setProperty("--shape", wide / high);
  if (look === "alike") mark(canvas, wide, high);
  if (look === "parts") tellPart(answer, high, wide);
}

// Waits until the parts are known, and says how far the search is.
async function partsOf(asking) {
  const { $ } = tab;
  const mine = opening;
  for (;;) {
    const answer = await rpc("embeddings/parts", asking);
    if (!answer || answer.error || answer.parts || mine !== opening || look !== "parts") return answer;
    $(".emb-view-why").textContent = `Finding what recurs in ${count(answer.looked, "photo")}: ${Math.round(100 * answer.share)} %`;
    $(".emb-parts-stop").hidden = false;
    await pause(300);
  }
}

// What the chosen part is like, and below the photo where in the gallery it is most itself.
async function tellPart({ parts, photos, artefacts }, high, wide) {
  const { $ } = tab;
  shownParts = new Uint8Array(bytesOf(parts));
  $(".emb-parts-stop").hidden = true;
  $(".emb-view-why").textContent = VIEWS.parts + (artefacts.some((each) => shownParts.includes(each)) ? " The one in the corners is a known artefact." : "");
  if (part === null) return;
  const chosen = part;
  const kind = artefacts.includes(part) ? " Mostly corner patches: a known artefact." : "";
  $(".emb-view-why").textContent =
    `Part ${part + 1} of ${photos.length}, in ${percent(photos[part])} of the photos.${kind} Below, where it is most itself; click the patch again for all parts.`;
  const answer = await rpc("embeddings/part", { gallery: tab.gallery.id, layer: tab.shown.layer, part });
  if (chosen !== part || look !== "parts") return;
  if (!answer || answer.error) return problem(answer?.error || "The part could not be fetched: try again.");
  $(".emb-near-title").textContent = `Nearest to part ${part + 1}`;
  const tiles = answer.patches.map(({ id, row, column }) => {
    const made = tile(id, "", true);
    const canvas = made.querySelector("canvas");
    Object.assign(canvas, { width: wide, height: high, hidden: false });
    const context = canvas.getContext("2d");
    context.fillStyle = "rgb(8 12 20 / 0.6)";
    context.fillRect(0, 0, wide, high);
    context.clearRect(column, row, 1, 1);
    return made;
  });
  $(".emb-near").replaceChildren(...tiles);
}

function partPainter({ parts }) {
  const values = new Uint8Array(bytesOf(parts));
  const colours = NAMED.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return (data, at, patch) => data.set([...colours[values[patch] % colours.length], part === null || values[patch] === part ? 190 : 30], at);
}

// Painters: (data, at, patch) writes a patch's red, green, blue and opacity.

function colourPainter({ colours, foreground }) {
  const [rgb, front] = [new Uint8Array(bytesOf(colours)), new Uint8Array(bytesOf(foreground))];
  return (data, at, patch) => data.set(front[patch] ? [rgb[3 * patch], rgb[3 * patch + 1], rgb[3 * patch + 2], 235] : [8, 12, 20, 200], at);
}

function heatPainter({ heats }) {
  const values = new Float32Array(bytesOf(heats));
  const sorted = Float32Array.from(values).sort();
  const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.floor(0.995 * (sorted.length - 1))]];
  return (data, at, patch) => {
    const share = Math.min(1, Math.max(0, (values[patch] - low) / (high - low || 1)));
    const [red, green, blue] = scaleColour(share).match(/\d+/g).map(Number);
    data.set([red, green, blue, 90 + 150 * share], at);
  };
}

// The patch that was clicked: the canvas is as coarse as the patches, so its frame is an outline of the page's.
function mark(canvas, wide, high) {
  const { $ } = tab;
  const [row, column] = place;
  canvas.setAttribute("aria-description", `Patch in row ${row + 1} of ${high}, column ${column + 1} of ${wide}`);
  let frame = $(".emb-patch");
  if (!frame) $(".emb-picture").append((frame = make("i", "emb-patch")));
  frame.hidden = false;
  const [box, outer] = [canvas.getBoundingClientRect(), $(".emb-picture").getBoundingClientRect()];
  const [left, top] = [box.left - outer.left + (column / wide) * box.width, (row / high) * box.height];
  Object.assign(frame.style, { left: `${left}px`, top: `${top}px`, width: `${box.width / wide}px`, height: `${box.height / high}px` });
}

function toPatch(row, column) {
  const [rows, columns] = opened.grid;
  place = [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  mark(tab.$(".emb-patches"), columns, rows);
  clearTimeout(moving);
  if (look === "alike") moving = setTimeout(showView, 60, true);
}

// Chooses the part of a patch, or all parts again.
function choosePart(row, column) {
  const [rows, columns] = opened.grid;
  place = [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  if (!shownParts) return;
  const found = shownParts[place[0] * columns + place[1]];
  part = part === found ? null : found;
  showView();
}

export function mountPhoto() {
  const { $ } = tab;
  setTab = radios($(".emb-tabs"), showTab);
  $(".emb-close").addEventListener("click", closePhoto);
  $(".emb-send").addEventListener("click", () => opened && tab.trigger("submit", { gallery: tab.gallery.id, id: opened.id }));
  for (const box of [".emb-near", ".emb-picked"]) {
    $(box).addEventListener("click", (event) => {
      const id = event.target.closest("[data-id]")?.dataset.id;
      if (id !== undefined) openPhoto(Number(id));
    });
  }
  $(".emb-parts-stop").addEventListener("click", () => {
    rpc("embeddings/stop_parts", { gallery: tab.gallery.id });
    setView("photo");
    look = "photo";
    showView();
  });
  const setView = radios($(".emb-views"), (view) => {
    look = view;
    part = null;
    showView();
  });
  $(".emb-patches").addEventListener("click", (event) => {
    if (look !== "alike" && look !== "parts") return;
    const box = event.target.getBoundingClientRect();
    const [rows, columns] = opened.grid;
    const [row, column] = [Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns)];
    look === "alike" ? toPatch(row, column) : choosePart(row, column);
  });
  $(".emb-patches").addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (look === "parts" && event.key === "Enter") choosePart(...place);
    if (!step || (look !== "alike" && look !== "parts")) return;
    event.preventDefault();
    toPatch(place[0] + step[0], place[1] + step[1]);
  });
}
