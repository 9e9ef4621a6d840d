// The Embeddings tab: a gallery as a map. Fetches what the server computed, and asks for other layers. Nothing a visitor named becomes HTML here.
const KEY = "vitdemo-embeddings";
const CACHED = 40; // maps kept in the browser

const asks = { layer: "final", pool: "cls", dimensions: 2, neighbours: 15, min_dist: 0.1, metric: "cosine", seed: 0 };
let shown = null; // what the map on show was asked by
let wish = 0; // number of the newest one asked for
let first = true; // no map of this gallery has been shown yet
let fetchedMaps = new Map();

const panel = new MapPanel($(".emb-main"), { open: (row) => openPhoto(row.id), close: () => closePhoto(), select: (rows) => choose(rows) });
const strip = new LayerStrip($(".emb-main"), (layer) => want({ layer }));
strip.ready = () => shown?.layer === strip.layer && !panel.map.moving;

function problem(text) {
  $(".emb-problem").hidden = !text;
  $(".emb-problem").textContent = text || "";
}

async function fetched(path) {
  const answer = await fetch(file(path));
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

function show(id) {
  run = id;
  [asking, told, shown, first] = [false, null, null, true];
  wish++;
  fetchedMaps = new Map();
  strip.play(false);
  $(".emb").hidden = true;
  $(".drop").classList.add("given");
  $(".emb-errors").hidden = true;
  $(".emb-empty").hidden = true;
  problem("");
  badge(null);
  poll(id);
}

const asked = () => ({});

function heard(answer) {
  if (!["done", "stopped", "failed"].includes(answer.state)) return 300;
  errors(answer.errors || []);
  if (answer.photos) begin(answer);
  else if (answer.state !== "failed") {
    $(".emb-empty").hidden = false;
    if (answer.done) fail("None of these photos can be read: give others.");
  }
  return null;
}

function errors(all) {
  const box = $(".emb-errors");
  box.hidden = !all.length;
  box.querySelector("summary").textContent = all.length === 1 ? "1 photo was left out" : `${all.length} photos were left out`;
  box.querySelector("ul").replaceChildren(...all.map(({ error }) => make("li", "", error)));
}

// All photos are through: fetch what is known of them, then the map.
async function begin(answer) {
  const id = run;
  progress("Fetching the photos …", 1, false);
  let rows, numbers;
  try {
    const [text, pictures] = await Promise.all([fetched(answer.photos.rows), fetched(answer.photos.thumbnails)]);
    rows = JSON.parse(new TextDecoder().decode(text));
    numbers = unpacked(pictures, answer.photos.sections);
  } catch (error) {
    return fail(`The photos could not be fetched: ${error.message}. Reload the page.`);
  }
  if (id !== run) return;
  tell(answer);
  for (const each of $$(".emb-pool [role=radio]")) each.disabled = !answer.pools.includes(each.dataset.value);
  if (!answer.pools.includes(asks.pool)) asks.pool = answer.pools[0];
  setPool(asks.pool);
  closePhoto();
  panel.setPhotos(rows, new Thumbnails(numbers.bytes, numbers.starts, () => {}));
  choose([]);
  strip.setLayers(answer.layers, (asks.layer = "final"));
  want({});
}

// Another map: of another layer, other vectors, or drawn in another way. The newest wish counts.
async function want(change) {
  Object.assign(asks, change);
  const key = { ...asks };
  const mine = ++wish;
  const id = run;
  const name = JSON.stringify(key);
  let fails = 0;
  while (!fetchedMaps.has(name)) {
    const answer = await rpc("embeddings/map", { gallery: id, ...key });
    if (mine !== wish) return;
    if (answer?.map) {
      try {
        const data = await fetched(answer.map.path);
        fetchedMaps.set(name, { ...answer.map, numbers: unpacked(data, answer.map.sections) });
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
  badge(null);
  strip.play(false);
  problem(text);
  if (first) tell(told);
  $(".emb").hidden = false; // without a map another one can be asked for
  if (shown) back();
}

// The controls say what is on show again.
function back() {
  Object.assign(asks, shown);
  strip.set(shown.layer);
  setPool(shown.pool);
  setDimensions(String(shown.dimensions));
}

function showMap(key, map) {
  badge(null);
  problem("");
  $(".emb").hidden = false;
  if (first) tell(told);
  first = false;
  const before = shown;
  shown = key;
  strip.set(key.layer);
  panel.map.resize();
  panel.setMap(map.numbers, map.names, map.dimensions);
  const vector = key.pool === "cls" ? "CLS token" : "mean of patches";
  $(".emb-title").textContent = `${panel.rows.length.toLocaleString("en")} photos ${key.layer === "final" ? "in the final layer" : `in layer ${key.layer}`}`;
  const clusters = map.names.length === 1 ? "1 cluster" : `${map.names.length} clusters`;
  const trust = map.trust === null ? "" : ` · trustworthiness ${map.trust.toFixed(3)}`;
  $(".emb-facts").textContent = `Embedding: ${vector} · ${clusters}${trust}`;
  $(".emb-facts").title = "Trustworthiness: how far neighbours on the map are also neighbours in the embedding, 0 to 1";
  if (!before || before.pool !== key.pool || before.layer !== key.layer) refreshPhoto();
  followScores();
}

function badge(answer) {
  const working = Boolean(answer);
  if (working && first) {
    const left = answer.left ? ` · ${timeLeft(answer.left)}` : "";
    return progress(`${answer.text} …${left}`, answer.share ?? null);
  }
  clearTimeout(badge.late);
  if (!working) return ($(".emb-badge").hidden = true);
  const say = () => {
    $(".emb-badge").hidden = false;
    $(".emb-badge-text").textContent = `${answer.text} …${answer.share ? ` ${Math.round(100 * answer.share)} %` : ""}`;
  };
  if ($(".emb-badge").hidden) badge.late = setTimeout(say, 300);
  else say();
}

$(".emb-map-stop").addEventListener("click", () => rpc("embeddings/stop", { gallery: run }));

const setPool = radios($(".emb-pool"), (pool) => want({ pool }));
const setDimensions = radios($(".emb-dimensions"), (dimensions) => want({ dimensions: Number(dimensions) }));

$(".emb-draw").addEventListener("click", () => {
  const settings = {};
  for (const each of $$("[data-setting]")) {
    const value = each.tagName === "SELECT" ? each.value : each.valueAsNumber;
    settings[each.dataset.setting] = Number.isNaN(value) ? null : value;
  }
  want(settings);
});

// The layers' scores

const MEASURES = {
  accuracy: ["k-NN accuracy", 0, "k-NN accuracy (k = 5), folders as classes", (value) => chance(value)],
  silhouette: ["Silhouette", null, "how well the folders are separated, −1 to 1", (value) => value.toFixed(3)],
  trust: ["Trustworthiness", null, "how far neighbours on the map are also neighbours in the embedding, 0 to 1", (value) => value.toFixed(3)],
};
let measure = "accuracy";
let scores = [];

async function followScores() {
  const mine = wish;
  const id = run;
  for (;;) {
    const answer = await rpc("embeddings/scores", { gallery: id, ...shown });
    if (mine !== wish || id !== run || !answer?.scores) return;
    const before = JSON.stringify(scores);
    scores = answer.scores;
    if (JSON.stringify(scores) !== before || !$(".lay-bars i")) drawScores();
    if (answer.complete) return drawScores();
    await pause(500);
  }
}

function drawScores() {
  const there = Object.keys(MEASURES).filter((name) => scores.some((each) => each[name] !== null));
  const select = $(".emb-measure");
  if (select.dataset.there !== there.join()) {
    select.dataset.there = there.join();
    select.replaceChildren(...there.map((value) => Object.assign(make("option", "", MEASURES[value][0]), { value })));
  }
  $(".emb-score").style.visibility = there.length ? "visible" : "hidden";
  const current = there.includes(measure) ? measure : there[0];
  if (!current) return strip.bars(strip.layers.map(() => null), "");
  select.value = current;
  const [name, floor, words, text] = MEASURES[current];
  const values = scores.map((each) => each[current]);
  const known = values.filter((each) => each !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const best = strip.bars(values, name.toLowerCase(), floor ?? low - 0.25 * (high - low || 1));
  const where = strip.layers[best] === "final" ? "Final layer" : `Layer ${strip.layers[best]}`;
  $(".emb-best").textContent = `★ ${where}: ${text(values[best])}, ${current === "accuracy" ? "" : "the best: "}${words}.`;
}

$(".emb-measure").addEventListener("change", (event) => {
  measure = event.target.value;
  drawScores();
});
