// Beside the map: its groups, one photo with its neighbours and its patches, or the chosen photos.
const VIEWS = {
  photo: "On the map, lines lead to its nearest neighbours in the embedding.",
  colours: "Patches of one colour are similar in this layer, here and below, in the neighbours or the selected photos.",
  alike: "Click a patch, or use the arrow keys. Similar patches light up, here and below, in the neighbours or the selected photos.",
};
let opened = null; // what the server said of the open photo
let opening = 0;
let look = "photo"; // one of VIEWS
let place = null; // the patch whose likes are lit, [row, column]
let chosen = []; // rows

const setTab = radios($(".emb-tabs"), showTab);
function showTab(name) {
  setTab(name);
  for (const each of ["groups", "photo", "chosen"]) $(`.emb-${each}`).hidden = each !== name;
}

function tile(id, text, ofPhoto) {
  const row = panel.row(id);
  const box = button("emb-tile");
  box.dataset.id = id;
  const image = Object.assign(new Image(), { alt: row.name.split("/").at(-1), src: panel.map.thumbnails.url(panel.map.place.get(id)) });
  box.title = [row.name, row.label].filter(Boolean).join(" · ");
  box.append(image);
  if (ofPhoto) box.append(Object.assign(make("canvas"), { width: 1, height: 1, hidden: true }));
  if (text) box.append(make("small", "", text));
  return box;
}

async function openPhoto(id) {
  const mine = ++opening;
  panel.map.setOpened(id);
  showTab("photo");
  const answer = await rpc("embeddings/photo", { gallery: run, id, ...shown });
  if (mine !== opening) return;
  if (!answer || answer.error) return problem(answer?.error || "The photo could not be fetched: try again.");
  problem("");
  const fresh = opened?.id !== id;
  opened = { ...answer, id };
  panel.map.setOpened(id, answer.neighbours.slice(0, 6).map((each) => each.id));
  $(".emb-none").hidden = true;
  $(".emb-open").hidden = false;
  const parts = answer.name.split("/");
  $(".emb-name").textContent = parts.pop();
  const like = (words, ids) => (ids.length ? `${words} ${ids.length === 1 ? panel.row(ids[0]).name : `${ids.length} others`}` : "");
  const outlying = panel.numbers.outlying[panel.map.place.get(id)] ? "far from all others in this layer" : "";
  $(".emb-where").textContent = [parts.length ? `in ${parts.join("/")}` : "", like("the same file as", answer.same), like("nearly the same picture as", answer.almost), outlying, ...answer.notes].filter(Boolean).join(" · ");
  $(".emb-predictions").replaceChildren(
    ...answer.predictions.map(({ name, probability }) => {
      const line = make("li");
      const bar = make("div", "bar");
      bar.append(make("div"));
      bar.firstChild.style.width = `${100 * probability}%`;
      line.append(make("span", "", name), make("span", "", chance(probability)), bar);
      return line;
    })
  );
  if (fresh) place = null;
  showView();
}

function closePhoto() {
  opening++;
  opened = null;
  panel.map.setOpened(null);
  $(".emb-none").hidden = false;
  $(".emb-open").hidden = true;
  if (!$(".emb-photo").hidden) showTab("groups");
}

// The neighbours are another layer's now.
const refreshPhoto = () => opened && openPhoto(opened.id);

$(".emb-close").addEventListener("click", closePhoto);
$(".emb-send").addEventListener("click", () => opened && trigger("submit", { gallery: run, id: opened.id }));
for (const box of [".emb-near", ".emb-picked"]) {
  $(box).addEventListener("click", (event) => {
    const id = event.target.closest("[data-id]")?.dataset.id;
    if (id !== undefined) openPhoto(Number(id));
  });
}

// Patches

const setView = radios($(".emb-views"), (view) => {
  look = view;
  showView();
});

// What stands below the photo: its neighbours; where patches are compared, the chosen photos instead, if there are some.
const MOST = 8;
function drawNear() {
  const others = look === "photo" ? [] : chosen.filter((row) => row.id !== opened.id).slice(0, MOST);
  const near = opened.neighbours.slice(0, MOST);
  const where = shown.layer === "final" ? "in the final layer" : `in layer ${shown.layer}`;
  $(".emb-near-title").textContent = others.length ? "Selected photos" : near.length ? `Nearest ${where}` : "";
  $(".emb-near").replaceChildren(...(others.length ? others.map((row) => tile(row.id, "", true)) : near.map((each) => tile(each.id, each.similarity.toFixed(3), true))));
  return [opened.id, ...(others.length ? others : near).map((each) => each.id)];
}

async function showView(again = false) {
  const view = look;
  const ids = again ? [opened.id, ...$$(".emb-near [data-id]").map((each) => Number(each.dataset.id))] : drawNear();
  const canvas = $(".emb-patches");
  const image = $(".emb-image");
  image.src = file(look === "photo" ? opened.photo : opened.crop);
  image.alt = opened.name;
  $(".emb-view-why").textContent = VIEWS[look];
  canvas.dataset.view = look;
  if (look !== "alike" && $(".emb-patch")) $(".emb-patch").hidden = true;
  canvas.hidden = look === "photo";
  if (canvas.hidden) return $(".emb-picture").removeAttribute("aria-busy");
  const [rows, columns] = opened.grid;
  place ??= [rows >> 1, columns >> 1];
  const mine = opening;
  const asking = { gallery: run, ids, layer: shown.layer, row: place[0], column: place[1] };
  $(".emb-picture").setAttribute("aria-busy", true);
  const answer = await rpc(`embeddings/${view}`, asking);
  if (mine !== opening || view !== look || (view === "alike" && (place[0] !== asking.row || place[1] !== asking.column))) return;
  $(".emb-picture").removeAttribute("aria-busy");
  if (!answer || answer.error) return problem(answer?.error || "The patches could not be fetched: try again.");
  const [, high, wide] = answer.shape;
  const paint = look === "colours" ? colourPainter(answer) : heatPainter(answer);
  const canvases = [canvas, ...$$(".emb-near canvas")];
  canvases.forEach((each, photo) => {
    each.hidden = photo >= ids.length;
    if (each.hidden) return;
    [each.width, each.height] = [wide, high];
    const pixels = new ImageData(wide, high);
    for (let patch = 0; patch < wide * high; patch++) paint(pixels.data, 4 * patch, photo * wide * high + patch);
    each.getContext("2d").putImageData(pixels, 0, 0);
  });
  $(".emb-picture").style.setProperty("--shape", wide / high);
  if (look === "alike") mark(canvas, wide, high);
}

const decoded = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function colourPainter({ colours, foreground }) {
  const [rgb, front] = [decoded(colours), decoded(foreground)];
  return (data, at, patch) => data.set(front[patch] ? [rgb[3 * patch], rgb[3 * patch + 1], rgb[3 * patch + 2], 235] : [8, 12, 20, 200], at);
}

function heatPainter({ heats }) {
  const values = new Float32Array(decoded(heats).buffer);
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
  const [row, column] = place;
  canvas.setAttribute("aria-description", `Patch in row ${row + 1} of ${high}, column ${column + 1} of ${wide}`);
  let frame = $(".emb-patch");
  if (!frame) $(".emb-picture").append((frame = make("i", "emb-patch")));
  frame.hidden = false;
  const [box, outer] = [canvas.getBoundingClientRect(), $(".emb-picture").getBoundingClientRect()];
  Object.assign(frame.style, { left: `${box.left - outer.left + (column / wide) * box.width}px`, top: `${(row / high) * box.height}px`, width: `${box.width / wide}px`, height: `${box.height / high}px` });
}

function toPatch(row, column) {
  const [rows, columns] = opened.grid;
  place = [Math.min(rows - 1, Math.max(0, row)), Math.min(columns - 1, Math.max(0, column))];
  mark($(".emb-patches"), columns, rows);
  clearTimeout(toPatch.late);
  toPatch.late = setTimeout(showView, 60, true);
}

$(".emb-patches").addEventListener("click", (event) => {
  if (look !== "alike") return;
  const box = event.target.getBoundingClientRect();
  const [rows, columns] = opened.grid;
  toPatch(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns));
});
$(".emb-patches").addEventListener("keydown", (event) => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step || look !== "alike") return;
  event.preventDefault();
  toPatch(place[0] + step[0], place[1] + step[1]);
});
