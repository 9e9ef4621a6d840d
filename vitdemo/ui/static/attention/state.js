// Where the model looks: what the server said of the photo, and what is selected. A page has one explorer.
// Nothing a visitor named becomes HTML in this folder.
import { finders, say } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { NO_ANSWER, rpc } from "../lib/rpc.js";

export let element, props, trigger; // the component's, as Gradio gives them
export let $, $$, explorer;
export let told = null; // what the server said of the photo on show
export let numbers = {}; // its arrays, by name
export let links = new Map(); // head → its attention in every layer, for the hover
export let classes = new Map(); // class → {name, probability, heats}; its heats by `kind`
export let off = new Set(); // heads that are switched off, "layer,head"
export let base = null; // the photo's pixels, as `prepare` in overlay.js gives them

export const METHODS = { relevance: "relevance", votes: "votes", fullgrad: "FullGrad+", rollout: "rollout", cls: "CLS attention" };

export const view = {
  method: "relevance",
  plain: false, // relevance by the plain gradient
  layer: 12, // from 1
  head: "mean", // or a number from 0
  direction: "looks-at", // or "looked-at-by", or "value", which leaves the map as it is
  hover: null, // a patch, [row, column]
  held: null,
  target: null, // a class
  other: null,
  part: "difference", // which of the two classes' maps, or their difference
  colours: "inferno",
  opacity: 0.85,
  smooth: true,
  flat: false, // one opacity everywhere; else the map is painted with light
  locked: false, // one scale for all layers
  even: false, // peaks cut off
  artefacts: false, // patches that are artefacts shown in maps of attention, too
  split: 0, // share of the photo that stays bare
};

// Parts that show what another part chooses follow its changes: "layer", "class" (which one, or the other one), "method", "votes" (their ledger).
let followers = {};
export const follow = (what, listener) => (followers[what] ??= []).push(listener);
export const changed = (what) => followers[what]?.forEach((listener) => listener());

export function mountOn(component) {
  followers = {};
  ({ element, props, trigger } = component);
  ({ $, $$ } = finders(element));
  explorer = element.closest("#attention");
  clearPhoto();
}

export function clearPhoto() {
  [told, base, numbers] = [null, null, {}];
}

export function setPhoto(value, arrays) {
  off = new Set();
  classes = new Map();
  setAnswer({ ...value, first: value.session, off: [] }, arrays);
  Object.assign(view, { hover: null, held: null, target: null, other: null, part: "difference" });
  if (typeof view.head === "number" && view.head >= told.heads) view.head = "mean";
}

// What the model says of the photo, with all heads or without some: nothing that was said before is kept but names.
export function setAnswer(answer, arrays) {
  [told, numbers, links] = [{ ...told, ...answer }, { ...numbers, ...arrays }, new Map()];
  const named = [...classes.values()].map(({ index, name, probability }) => ({ index, name, probability }));
  classes = new Map([...named, ...told.top].map((found) => [found.index, found]));
}

export function setBase(prepared) {
  base = prepared;
}

// Asks the server. What goes wrong is shown, and nothing comes back for it, nor for a photo that has been replaced meanwhile.
export async function ask(name, asked = {}) {
  const session = told?.session;
  const answer = await rpc(`attention/${name}`, { session, ...asked });
  if (session !== told?.session) return null;
  if (!answer || answer.error) {
    problem(answer?.error || NO_ANSWER);
    return null;
  }
  problem("");
  return answer;
}

// Over the photo, once it takes longer than a moment: what the page is waiting for.
const PATIENCE = 300; // milliseconds
let waitingToSay = 0;
export function working(text) {
  clearTimeout(waitingToSay);
  if (!text) return ($(".att-badge").hidden = true);
  waitingToSay = setTimeout(() => {
    $(".att-badge").hidden = false;
    $(".att-badge-text").textContent = text;
  }, PATIENCE);
}

export const problem = (text) => say($(".att-problem"), text);

export const reader = () => (told.cls ? "CLS" : "the pooled answer"); // what gives the answer
export const pointed = () => view.hover || view.held; // the patch whose value is read
export const patch = () => (view.direction === "value" ? null : view.held || view.hover); // whose attention is the map on show
export const rows = () => told.geometry.grid[0];
export const columns = () => told.geometry.grid[1];
export const patches = () => rows() * columns();
export const ofClass = (method = view.method) => ["relevance", "votes", "fullgrad"].includes(method);
export const kind = () => (view.method === "relevance" && view.plain ? "relevance, plain" : view.method);
const versus = () => view.other !== null && view.part === "difference";
export const signed = () => !patch() && ofClass() && (view.method !== "relevance" || versus());
export const placed = ([row, column]) => `row ${row + 1}, column ${column + 1}`;
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// What the server is asked about the map on show; a patch counts when it is held.
/** @returns {Record<string, any>} */
export function question() {
  const { colours, opacity, smooth, flat, even, locked, artefacts, layer } = view;
  const look = { colours, opacity, smooth, flat, even, locked, artefacts, layer };
  if (view.held && patch()) return { ...look, method: view.direction, patch: view.held, head: view.head };
  if (view.method === "cls") return { ...look, method: "cls", head: view.head };
  if (view.method === "rollout") return { ...look, method: "rollout" };
  const asked = { ...look, method: view.method, gradient: view.plain ? "plain" : "libra" };
  if (versus()) return { ...asked, target: view.target, other: view.other };
  return { ...asked, target: view.other === null || view.part === "a" ? view.target : view.other };
}

// What the colours stand for.
export function unit() {
  const name = (target) => classes.get(target)?.name || "…";
  if (patch()) return "share of that patch's attention";
  if (view.method === "cls") return "share of attention";
  if (view.method === "rollout") return "share of attention, rolled out";
  const [measure, measured] = { relevance: ["relevance", "no unit"], votes: ["votes", "in logits"], fullgrad: ["shares", "in logits"] }[view.method];
  if (versus()) return `${name(view.other)} ← ${measure}, ${measured} → ${name(view.target)}`;
  return `${measure} for ${name(view.part === "b" && view.other !== null ? view.other : view.target ?? told.top[0]?.index)}, ${measured}`;
}

// What the map on show is.
export function titled() {
  const off = told.off.length ? ` · ${count(told.off.length, "head")} off` : "";
  return whole() + off;
}

function whole() {
  const layer = `layer ${view.layer} of ${told.layers}`;
  const head = ["mean", "max", "min"].includes(view.head) ? `${view.head} of ${told.heads} heads` : `head ${view.head}`;
  const name = (target) => classes.get(target)?.name || "…";
  const looks = view.direction === "looks-at" ? "looks at" : "is looked at by";
  if (patch()) return `What the patch in ${placed(patch())} ${looks} · ${layer} · ${head}`;
  if (view.method === "cls") return `What ${reader()} looks at · ${layer} · ${head}`;
  if (view.method === "rollout") return `Rollout · up to ${layer}`;
  const said = { relevance: "What supports", votes: `What ${reader()} read for`, fullgrad: "What adds up to" }[view.method];
  if (versus()) return `Why ${name(view.target)}, and not ${name(view.other)} · ${METHODS[view.method]} · up to ${layer}`;
  return `${said} ${name(view.other === null || view.part === "a" ? view.target : view.other)} · up to ${layer}`;
}
