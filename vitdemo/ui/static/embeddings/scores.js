// The layers' scores, as bars above the slider of layers.
import { make, pause } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { rpc } from "../lib/rpc.js";
import { tab } from "./shared.js";

const MEASURES = {
  accuracy: ["k-NN accuracy", 0, "k-NN accuracy (k = 5), folders as classes", percent],
  silhouette: ["Silhouette", null, "how well the folders are separated, −1 to 1", (value) => value.toFixed(3)],
  trust: ["Trustworthiness", null, "how far neighbours on the map are also neighbours in the embedding, 0 to 1", (value) => value.toFixed(3)],
};
let measure = "accuracy";
let scores = [];

// Asks for the scores that belong to the map on show, and draws them as they come, while `wanted()`.
export async function followScores(wanted) {
  for (;;) {
    const answer = await rpc("embeddings/scores", { gallery: tab.gallery.id, ...tab.shown });
    if (!wanted() || !answer?.scores) return;
    const before = JSON.stringify(scores);
    scores = answer.scores;
    if (JSON.stringify(scores) !== before || !tab.$(".lay-bars i")) draw();
    if (answer.complete) return draw();
    await pause(500);
  }
}

function draw() {
  const { $, strip } = tab;
  const there = Object.keys(MEASURES).filter((name) => scores.some((score) => score[name] !== null));
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
  const values = scores.map((score) => score[current]);
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const best = strip.bars(values, name.toLowerCase(), floor ?? low - 0.25 * (high - low || 1));
  const where = strip.layers[best] === "final" ? "Final layer" : `Layer ${strip.layers[best]}`;
  $(".emb-best").textContent = `★ ${where}: ${text(values[best])}, ${current === "accuracy" ? "" : "the best: "}${words}.`;
}

export function mountScores() {
  tab.$(".emb-measure").addEventListener("change", (event) => {
    measure = event.target.value;
    draw();
  });
}
