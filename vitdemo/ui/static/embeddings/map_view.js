// The gallery's map: fetches what the server computed, and asks for other layers. Nothing a visitor named becomes HTML here.
import { FINAL } from "../components/gallery_upload.js";
import { unpack } from "../lib/arrays.js";
import { make, pause, radios } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { fetched, GONE, rpc } from "../lib/rpc.js";
import { LayerStrip } from "../photo_map/layers.js";
import { MapPanel } from "../photo_map/panel.js";
import { Thumbnails } from "../photo_map/thumbnails.js";
import { closePhoto, openPhoto, refreshPhoto } from "./photo.js";
import { followScores } from "./scores.js";
import { choose } from "./selection.js";
import { problem, tab } from "./shared.js";

const CACHED = 40; // maps kept in the browser

const asks = { layer: "final", pool: "cls", dimensions: 2, neighbours: 15, min_dist: 0.1, metric: "cosine", seed: 0 };
let wish = 0; // number of the newest one asked for
let first = true; // no map of this gallery has been shown yet
let fetchedMaps = new Map();
let badging = 0; // the timer of a badge that is late
let setPool, setDimensions; // in silence

// What the gallery tells (gallery_upload.js).
export const heardGallery = {
  show() {
    const { $ } = tab;
    tab.shown = null;
    first = true;
    wish++;
    fetchedMaps = new Map();
    tab.strip.play(false);
    $(".emb").hidden = true;
    $(".emb-errors").hidden = true;
    $(".emb-empty").hidden = true;
    problem("");
    badge(null);
  },
  gone() {
    tab.$(".emb-empty").hidden = false;
  },
  asked: () => ({}),
  progress(answer) {
    if (!FINAL.includes(answer.state)) return 300;
    errors(answer.errors || []);
    if (answer.photos) begin(answer);
    else if (answer.state !== "failed") {
      tab.$(".emb-empty").hidden = false;
      if (answer.done) tab.gallery.fail("None of these photos can be read: give others.");
    }
    return null;
  },
};

function errors(all) {
  const box = tab.$(".emb-errors");
  box.hidden = !all.length;
  box.querySelector("summary").textContent = all.length === 1 ? "1 photo was left out" : `${all.length} photos were left out`;
  box.querySelector("ul").replaceChildren(...all.map(({ error }) => make("li", "", error)));
}

// All photos are through: fetch what is known of them, then the map.
async function begin(answer) {
  const { gallery, panel } = tab;
  const { id } = gallery;
  gallery.progress("Fetching the photos …", 1, false);
  let rows, numbers;
  try {
    const [text, pictures] = await Promise.all([fetched(answer.photos.rows), fetched(answer.photos.thumbnails)]);
    rows = JSON.parse(new TextDecoder().decode(text));
    numbers = unpack(pictures, answer.photos.sections);
  } catch (error) {
    return gallery.fail(`The photos could not be fetched: ${error.message}. Reload the page.`);
  }
  if (id !== gallery.id) return;
  gallery.tell(answer);
  for (const radio of tab.$$(".emb-pool [role=radio]")) radio.disabled = !answer.pools.includes(radio.dataset.value);
  if (!answer.pools.includes(asks.pool)) asks.pool = answer.pools[0];
  setPool(asks.pool);
  closePhoto();
  panel.setPhotos(rows, new Thumbnails(numbers.bytes, numbers.starts, () => {}));
  choose([]);
  tab.strip.setLayers(answer.layers, (asks.layer = "final"));
  want({});
}

// Another map: of another layer, other vectors, or drawn in another way. The newest wish counts.
async function want(change) {
  Object.assign(asks, change);
  const key = { ...asks };
  const mine = ++wish;
  const { id } = tab.gallery;
  const name = JSON.stringify(key);
  let fails = 0;
  while (!fetchedMaps.has(name)) {
    const answer = await rpc("embeddings/map", { gallery: id, ...key });
    if (mine !== wish) return;
    if (answer?.map) {
      try {
        const data = await fetched(answer.map.path);
        fetchedMaps.set(name, { ...answer.map, numbers: unpack(data, answer.map.sections) });
        if (fetchedMaps.size > CACHED) fetchedMaps.delete(fetchedMaps.keys().next().value);
        continue;
      } catch {
        // asked again, as below
      }
    }
    if (answer?.error || ++fails > 20) return giveUp(answer?.error || GONE);
    if (answer?.text) {
      fails = 0;
      badge(answer);
    }
    await pause(120);
  }
  if (mine !== wish) return;
  showMap(key, fetchedMaps.get(name));
}

function giveUp(text) {
  const { $, gallery, shown, strip } = tab;
  badge(null);
  strip.play(false);
  problem(text);
  if (first) gallery.tell(gallery.told);
  $(".emb").hidden = false; // without a map another one can be asked for
  if (!shown) return;
  // The controls say what is on show again.
  Object.assign(asks, shown);
  strip.set(shown.layer);
  setPool(shown.pool);
  setDimensions(String(shown.dimensions));
}

function showMap(key, map) {
  const { $, gallery, panel, strip } = tab;
  badge(null);
  problem("");
  $(".emb").hidden = false;
  if (first) gallery.tell(gallery.told);
  first = false;
  const before = tab.shown;
  tab.shown = key;
  strip.set(key.layer);
  panel.map.resize();
  panel.setMap(map.numbers, map.names, map.dimensions);
  const vector = key.pool === "cls" ? "CLS token" : "mean of patches";
  const where = key.layer === "final" ? "in the final layer" : `in layer ${key.layer}`;
  $(".emb-title").textContent = `${panel.rows.length.toLocaleString("en")} photos ${where}`;
  const clusters = map.names.length === 1 ? "1 cluster" : `${map.names.length} clusters`;
  const trust = map.trust === null ? "" : ` · trustworthiness ${map.trust.toFixed(3)}`;
  $(".emb-facts").textContent = `Embedding: ${vector} · ${clusters}${trust}`;
  $(".emb-facts").title = "Trustworthiness: how far neighbours on the map are also neighbours in the embedding, 0 to 1";
  if (!before || before.pool !== key.pool || before.layer !== key.layer) refreshPhoto();
  const [mine, { id }] = [wish, gallery];
  followScores(() => mine === wish && id === gallery.id);
}

// Says how far a map is: in the gallery's progress before the first one, on the map later.
function badge(answer) {
  const { $, gallery } = tab;
  const working = Boolean(answer);
  if (working && first) {
    const left = answer.left ? ` · ${clock(answer.left)} left` : "";
    return gallery.progress(`${answer.text} …${left}`, answer.share ?? null);
  }
  clearTimeout(badging);
  if (!working) return ($(".emb-badge").hidden = true);
  const say = () => {
    $(".emb-badge").hidden = false;
    $(".emb-badge-text").textContent = `${answer.text} …${answer.share ? ` ${Math.round(100 * answer.share)} %` : ""}`;
  };
  if ($(".emb-badge").hidden) badging = setTimeout(say, 300);
  else say();
}

export function mountMapView() {
  const { $, $$ } = tab;
  const root = $(".emb-main");
  tab.panel = new MapPanel(root, { open: (row) => openPhoto(row.id), close: () => closePhoto(), select: (rows) => choose(rows) });
  tab.strip = new LayerStrip(root, (layer) => want({ layer }));
  tab.strip.ready = () => tab.shown?.layer === tab.strip.layer && !tab.panel.map.moving;
  $(".emb-map-stop").addEventListener("click", () => rpc("embeddings/stop", { gallery: tab.gallery.id }));
  setPool = radios($(".emb-pool"), (pool) => want({ pool }));
  setDimensions = radios($(".emb-dimensions"), (dimensions) => want({ dimensions: Number(dimensions) }));
  $(".emb-draw").addEventListener("click", () => {
    const settings = {};
    for (const input of $$("[data-setting]")) {
      const value = input.tagName === "SELECT" ? input.value : input.valueAsNumber;
      settings[input.dataset.setting] = Number.isNaN(value) ? null : value;
    }
    want(settings);
  });
}
