// The steps of the tour. Each opens a tab and shows something in it; show(until) gives {title, text, watch}, the last the selectors of what is
// to be seen, or nothing where the model or the photo does not have it. Names and numbers are the model's own.
import { test, startErase } from "../../attention/evaluation/erase.js";
import { holdAgainst } from "../../attention/classes.js";
import { play, setLayer } from "../../attention/layers.js";
import { calm, classes, columns, kind, patches, reader, rows, told, view } from "../../attention/state.js";
import { openPhoto } from "../../embeddings/photo.js";
import { tab as embeddings } from "../../embeddings/shared.js";
import { close as closeClasses } from "../../finetune/finetune.js";
import { openTab, pause } from "../../lib/dom.js";
import { count, percent } from "../../lib/format.js";
import { decisiveHead, stage, tellingPatch } from "./stage.js";

const LONG = 180_000; // milliseconds for the first map, which loads a library
const STRONGEST = 20; // patches in which two classes are compared
const SETTLES = 400; // milliseconds for a tab that answers anew
const brought = { photo: false, map: null, dots: null, classes: false, options: false }; // what the tour made, to be closed in the end

const find = (part) => /** @type {any} */ (document.querySelector(part));
const all = (part) => /** @type {any[]} */ ([...document.querySelectorAll(part)]);
const mounted = (part) => find(part) && !find(part).closest("[inert]");
const list = (words, last) => [words.slice(0, -1).join(", "), words.at(-1)].filter(Boolean).join(` ${last} `);

export const isEmpty = () => Boolean(find("#view .view-none") && !find("#photo img"));

const PHOTO = "#attention .att-inner";

async function answer(until) {
  openTab("One photo");
  await until(() => !find("#view .waiting"));
  if (isEmpty()) {
    find(`#examples .${find(".of-drawings") ? "drawing" : "photograph"}`).click();
    brought.photo = true;
  }
  await pause(SETTLES);
  find("#view").dispatchEvent(new PointerEvent("pointerdown", { bubbles: true })); // the map stands still, at the last layer
  const settled = () => (find("#view .view:not(.stale, .waiting)") && !find("#answer .busy")) || find("#answer .error");
  if (!(await until(settled)) || !find("#answer .says")) return null;
  const [first, rival] = all("#answer .says strong").map((name) => name.textContent);
  const [chance, next] = all("#answer .percent").map((each) => each.textContent);
  const after = rival ? `, and for ${rival} ${next}. Why ${first}, and not ${rival}?` : ".";
  return {
    title: `The model says: ${first}`,
    text: `Its probability for ${first} is ${chance}${after} Let us look inside.`,
    watch: ["#view", "#answer .says"],
  };
}

async function cut(until) {
  if (!(await stage(until, { layer: 1, drawn: ["0", "0", false, true] }))) return null;
  const gathers = told.cls ? "It adds one place that belongs to no patch, called CLS: there the answer is gathered." : "In the end, the answer is pooled from all of them.";
  return {
    title: "It cuts the photo into patches",
    text: `The model sees only what lies inside the frame, as ${rows()} × ${columns()} small squares: its patches. ${gathers}`,
    watch: [PHOTO],
  };
}

async function layers(until) {
  if (!(await stage(until, { layer: 1, drawn: ["85", "0", true, false] }))) return null;
  calm() ? setLayer(told.layers) : play(true);
  const last = told.top.length ? told.lens.at(-1) : null;
  const other = told.lens.findLastIndex((leading) => leading?.index !== last?.index) + 1; // the last layer with another answer
  const since = other ? `from layer ${other + 1} on` : "from the first layer on";
  const said = last ? ` The strip has a picture of each, and what the model would say if it stopped there: guesses at first, and ${last.name} ${since}.` : "";
  return {
    title: `It looks ${told.layers} times`,
    text: `The photo passes ${told.layers} layers, and bright is where ${reader()} looks in each.${said}`,
    watch: [PHOTO, "#attention .att-lens"],
  };
}

async function patch(until) {
  if (!(await stage(until, { layer: Math.ceil(told.layers / 2), held: tellingPatch() }))) return null;
  return {
    title: "Every patch looks around, too",
    text: `The outlined patch takes information from the patches that are bright. This is layer ${view.layer} of ${told.layers}.`,
    watch: [PHOTO],
  };
}

const strongest = (heats) => [...heats.keys()].sort((one, other) => heats[other] - heats[one]).slice(0, STRONGEST);

async function why(until) {
  if (!(await stage(until, { method: "relevance" })) || told.top.length < 2) return null;
  const [first, rival] = told.top;
  holdAgainst(first.index, rival.index);
  view.part = "a";
  const maps = [first, rival].map(({ index }) => () => classes.get(index)?.heats?.[kind()]);
  if (!(await until(() => maps.every((map) => map())))) return null;
  setLayer(view.layer);
  const [own, others] = maps.map((map) => strongest(map().subarray(-patches())));
  const shared = own.filter((place) => others.includes(place)).length;
  const same = 2 * shared >= STRONGEST ? "Both answers come from much the same places" : `${rival.name} would be found elsewhere`;
  return {
    title: `Why ${first.name}, and not ${rival.name}?`,
    text: `Bright patches speak for ${first.name}. Of its ${STRONGEST} strongest, ${shared} are among the strongest for ${rival.name}, too. ${same}: ${percent(first.probability)} against ${percent(rival.probability)}.`,
    watch: [PHOTO],
  };
}

async function head(until) {
  if (!(await stage(until))) return null;
  const found = await decisiveHead(until);
  if (!found || !(await stage(until, found))) return null;
  const where = found.layers === 1 ? "the last layer" : `the last ${found.layers} layers`;
  return {
    title: `Each layer looks in ${count(told.heads, "way")} at once`,
    text: `Each way is a head. Of the ${found.tried} heads of ${where}, switched off one at a time, ${told.top[0].name} needs head ${found.head} of layer ${found.layer} most. Bright is where it looks.`,
    watch: [PHOTO],
  };
}

async function without(until) {
  if (!(await stage(until))) return null;
  const found = await decisiveHead(until);
  if (!found || !(await stage(until, { ...found, heads: [`${found.layer},${found.head}`] }))) return null;
  const { name, probability, after, index } = told.moves.reduce((most, move) => (move.probability > most.probability ? move : most));
  const falls = probability - after >= 0.01;
  const now = told.top[0].index === index ? (falls ? "" : " Many heads share the work.") : ` The model now says ${told.top[0].name}.`;
  return {
    title: falls ? `Without that head, ${name} falls` : "No single head decides",
    text: `Head ${found.head} of layer ${found.layer} is off, and ${name} goes from ${percent(probability)} to ${percent(after)}.${now} At the next step all heads are on again.`,
    watch: ["#attention .att-answer"],
  };
}

async function erase(until) {
  if (!(await stage(until, { method: "relevance" })) || !told.top.length) return null;
  holdAgainst(told.top[0].index, null);
  if (!test.conclusion) startErase();
  await until(() => test.conclusion);
  await stage(until, { method: "relevance", part: "erase" });
  return test.conclusion && {
    title: "Is the map right?",
    text: `We turn grey the patches that matter most by the map for ${told.top[0].name}, and ask again. ${test.conclusion.replace(/ \([^)]*\)/g, "")}`,
    watch: ["#attention .att-erase-row"],
  };
}

async function map(until) {
  if (!(await until(() => mounted("#embeddings .drop")))) return null;
  const { gallery } = embeddings;
  if (!gallery.id) {
    all("#embeddings .drop [data-samples]").find((samples) => samples.offsetParent).click(); // the first kind suits the model
    await until(() => gallery.id || find("#embeddings .gallery-error:not([hidden])"));
    brought.map = gallery.id;
  }
  if (!gallery.id) return null;
  await until(() => embeddings.shown || gallery.told?.state === "failed", LONG);
  if (!embeddings.shown) return null;
  brought.dots ??= find("#embeddings .map-as [aria-checked=true]");
  find("#embeddings .map-as [data-value=photos]").click();
  return {
    title: "Many pictures on one map",
    text: `Here are ${count(embeddings.panel.rows.length, "picture")}. Those that the model finds alike lie together; it goes by what it sees, not by their names.`,
    watch: ["#embeddings .emb-stage .map-box"],
  };
}

async function neighbours(until) {
  if (!(await map(until))) return null;
  const { rows, numbers } = embeddings.panel;
  const { id, name } = rows[Math.max(0, numbers.remote.indexOf(Math.min(...numbers.remote)))]; // the nearest to its neighbours
  await openPhoto(id);
  const near = find("#embeddings .emb-near small")?.textContent;
  await until(() => find("#embeddings .emb-image").complete, 5_000);
  return near && {
    title: "One point, and its neighbours",
    text: `This is ${name}. Below it are the pictures that the model finds most like it. The nearest has a similarity of ${near}; 1 would be the same.`,
    watch: [matchMedia("(max-width: 700px)").matches ? "#embeddings .emb-look" : "#embeddings .emb-open"], // there it is a sheet
  };
}

async function folders(until) {
  if (!(await until(() => mounted("#finetune .drop")))) return null;
  /** @type {HTMLDetailsElement} */ (find('#finetune [data-step="data"]')).open = true;
  const given = () => find("#finetune .data:not([hidden])");
  if (!given()) {
    find("#finetune .examples-classes").click();
    brought.classes = true;
  }
  await until(() => given() || find("#finetune .lesson-error:not([hidden])"));
  const names = all("#finetune .data .name").map((input) => input.value);
  const here = names.length ? ` Here: ${names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : list(names, "and")}.` : "";
  return {
    title: "Teach it classes of your own",
    text: `Give a folder with one sub-folder of photos for each class.${here} You get a model that knows them, tested on photos that it did not learn from.`,
    watch: [given() ? "#finetune .classes" : "#finetune .drop"],
  };
}

async function files(until) {
  if (!(await until(() => mounted("#export .exp-plan")))) return null;
  const titles = (part) => all(`#export ${part} strong`).map((title) => title.firstChild.textContent.trim());
  if (!find("#export .exp-more").open) brought.options = find("#export .exp-more").open = true;
  return {
    title: "Take the model along",
    text: `Export it as ${list(titles(".four"), "or")}, and in fewer bits where size matters; the kits under Options put a server around it. Each file is loaded again and compared with this model.`,
    watch: ["#export fieldset", "#export .exp-kits"],
  };
}

export const STEPS = [
  { tab: "Classify", show: answer, waits: "The model answers …" },
  { tab: "Attention", show: cut, waits: "The model looks …" },
  { tab: "Attention", show: layers },
  { tab: "Attention", show: patch },
  { tab: "Attention", show: why },
  { tab: "Attention", show: head, waits: "Switching off one head after another …" },
  { tab: "Attention", show: without, waits: "Asking again without that head …" },
  { tab: "Attention", show: erase, waits: "Turning patches grey and asking again …" },
  { tab: "Embeddings", show: map, waits: "Drawing a map of sample photos …" },
  { tab: "Embeddings", show: neighbours },
  { tab: "Fine-tune", show: folders, waits: "Reading sample photos …" },
  { tab: "Export", show: files },
];

// Closes what the tour has opened, but for the photo; gives back whether that is the tour's own, too.
export function closeSamples() {
  brought.dots?.click();
  if (brought.map && brought.map === embeddings.gallery.id) embeddings.gallery.close();
  if (brought.classes) closeClasses();
  if (brought.options) find("#export .exp-more").open = false;
  const { photo } = brought;
  Object.assign(brought, { photo: false, map: null, dots: null, classes: false, options: false });
  return photo;
}
