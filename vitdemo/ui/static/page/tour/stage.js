// The Attention tab in the tour: presenter mode, set for a step, and given back in the end.
import { holdAgainst } from "../../attention/classes.js";
import { picture, setDirection, setHead, setMethod } from "../../attention/controls.js";
import { switchOff } from "../../attention/heads/ablation.js";
import { play, setLayer } from "../../attention/layers.js";
import { look, present } from "../../attention/show/presenter.js";
import { $, ask, classes, columns, explorer, kind, off, patches, rows, told, view } from "../../attention/state.js";

const CANDIDATES = 12; // heads that are tried, at least those of the last layer
const DRAWN = [".att-opacity", ".att-split", ".att-even", ".att-gridded"];
const PLAIN = ["85", "0", false, false];
let kept = null; // what the tab was like
let decisive = null;

const valueOf = (input) => (input.type === "checkbox" ? input.checked : input.value);

function draw(values) {
  DRAWN.forEach((name, place) => ($(name)[$(name).type === "checkbox" ? "checked" : "value"] = values[place]));
  picture();
}

// Waits for the current photo, and shows it in presenter mode: {method, layer, head, held} as in `view`, `drawn` as DRAWN, `heads` that are off,
// and the `part` that is on the screen. Gives back whether it is there.
export async function stage(until, { method = "cls", layer = told?.layers, head = "mean", held = null, drawn = PLAIN, heads = [], part = "" } = {}) {
  const answered = /** @type {HTMLElement} */ (document.querySelector("#answer [data-photo]"))?.dataset.photo;
  await until(() => told && (!answered || told.photo_id === answered));
  if (!told || explorer.dataset.state !== "ready") return false;
  kept ??= { ...view, photo: told.photo_id, off: [...off], drawn: DRAWN.map((name) => valueOf($(name))) };
  play(false);
  present(true);
  look(part);
  const switched = () => told.off.join(" ") === [...heads].sort().join(" ");
  if (!switched()) {
    switchOff(heads);
    await until(() => switched() || !$(".att-problem").hidden);
    if (!switched()) return false;
  }
  setMethod(method);
  setDirection("looks-at");
  setHead(String(head));
  setLayer(layer ?? told.layers);
  [view.hover, view.held] = [null, held];
  draw(drawn);
  return true;
}

export const forgetStage = () => (kept = decisive = null);

export function leaveStage() {
  if (!explorer) return;
  play(false);
  present(false);
}

export function giveBackStage() {
  leaveStage();
  if (!kept || !told) return;
  const same = told.photo_id === kept.photo;
  if (same && off.size + kept.off.length) switchOff(kept.off);
  setMethod(told.top.length ? kept.method : kept.method === "rollout" ? "rollout" : "cls");
  setDirection(kept.direction);
  setHead(String(kept.head));
  setLayer(kept.layer);
  if (same && kept.target !== null) holdAgainst(kept.target, kept.other);
  if (same) Object.assign(view, { part: kept.part, held: kept.held });
  draw(kept.drawn);
}

// The patch that speaks most for the answer, where that is known; else one in the middle.
export function tellingPatch() {
  const values = classes.get(told.top[0]?.index)?.heats?.[kind()]?.subarray(-patches());
  if (!values) return [rows() >> 1, columns() >> 1];
  const most = values.indexOf(Math.max(...values));
  return [Math.floor(most / columns()), most % columns()];
}

// Of the last layers' heads, the one without which the answer falls most: {layer, head, layers, tried}; nothing where heads can't be tried.
export async function decisiveHead(until) {
  if (decisive || !told.headsOff || !told.top.length) return decisive;
  const layers = Math.min(told.layers, Math.max(1, Math.floor(CANDIDATES / told.heads)));
  const tried = [];
  for (let layer = told.layers; layer > told.layers - layers; layer--) {
    for (let head = 0; head < told.heads; head++) {
      const answer = await ask("ablate", { session: told.first, heads: [[layer, head]] });
      await until(() => true);
      if (answer) tried.push({ layer, head, after: answer.moves.find(({ index }) => index === told.top[0].index).after });
    }
  }
  const [first] = tried.sort((one, other) => one.after - other.after);
  return (decisive = first ? { ...first, layers, tried: tried.length } : null);
}
