// The ledger of votes: what the answer's token read from every head and MLP, in logits of a class, or of one class less another.
import { button, make } from "../../lib/dom.js";
import { setLayer } from "../layers.js";
import { $, ask, changed, classes, follow, reader, told, view } from "../state.js";

const TOP = 8; // heads listed
export let ledger = null; // of the photo on show
const whole = new Map(); // photo and classes → the ledger with all heads
const effects = new Map(); // photo, head and classes → what switching this head off alone was measured to do to the logit

export function listen() {
  follow("class", wantLedger);
  $(".att-ledger-lines").addEventListener("click", (event) => {
    const { layer } = event.target.closest("tr")?.dataset ?? {};
    if (layer) setLayer(Number(layer));
  });
}

// Asks for the votes of the class that is chosen, against the other one if there is one.
export async function wantLedger() {
  $(".att-ledger").hidden = !told.top.length;
  if (!told.top.length) return (ledger = null);
  const { target, other } = { target: view.target ?? told.top[0].index, other: view.other };
  const found = await ask("votes", { target, other });
  if (!found || (view.target ?? target) !== target || view.other !== other) return;
  $(".att-ledger-row").hidden = Boolean(found.missing);
  $('.att-tint [data-tint="votes"]').disabled = Boolean(found.missing);
  if (found.missing) return (ledger = null), ($(".att-ledger-why").textContent = found.missing);
  ledger = found;
  await measure();
  draw();
  changed("votes");
}

// What the one head that is off was measured to do: the logit without it, less the logit with all.
async function measure() {
  const { target, other } = ledger;
  const key = [told.first, target, other].join(" ");
  if (!told.off.length) whole.set(key, ledger);
  const all = whole.get(key) ?? (await ask("votes", { session: told.first, target, other }));
  if (!all) return;
  whole.set(key, all);
  if (told.off.length === 1) effects.set([told.first, told.off[0], target, other].join(" "), ledger.logit - all.logit);
}

export const forget = () => (ledger = null);

export const signed = (value, places = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(places)}`;

export function whose() {
  const name = (index) => classes.get(index)?.name ?? `class ${index}`;
  return ledger.other === null ? name(ledger.target) : `${name(ledger.target)}, and not ${name(ledger.other)}`;
}

// A head's vote while all are on, and its place among all by size.
export function voteOf(place, head) {
  const { heads } = whole.get([told.first, ledger.target, ledger.other].join(" ")) ?? ledger;
  const sizes = heads.flat().map(Math.abs);
  const vote = heads[place][head];
  return { vote, rank: 1 + sizes.filter((size) => size > Math.abs(vote)).length, of: sizes.length };
}

// What switching a head off alone was measured to do; undefined where it was not measured.
export const effectOf = (place, head) => effects.get([told.first, `${place + 1},${head}`, ledger.target, ledger.other].join(" "));

function draw() {
  const sums = ledger.heads.map((votes) => votes.reduce((sum, vote) => sum + vote, 0));
  const before = [["start", "What the token is before the first layer", ledger.embedding]];
  const after = [["biases", "Biases after the heads of all layers", ledger.biases], ["rest", "The classifier's own constants", ledger.constant]];
  const most = Math.max(...[...sums, ...ledger.mlps, ...before.map((line) => line[2]), ...after.map((line) => line[2])].map(Math.abs)) || 1;
  const lines = [
    ...before.map(([name, title, value]) => lineOf(name, title, [["rest", value]], most)),
    ...sums.map((sum, place) => {
      const line = lineOf(String(place + 1), `Layer ${place + 1}`, [["heads", sum], ["mlp", ledger.mlps[place]]], most);
      line.dataset.layer = place + 1;
      return line;
    }),
    ...after.map(([name, title, value]) => lineOf(name, title, [["rest", value]], most)),
  ];
  $(".att-ledger-lines tbody").replaceChildren(...lines);
  $(".att-ledger-axis").replaceChildren(...[-most, 0, most].map((value) => make("span", "", value ? signed(value, 1) : "0")));
  $(".att-ledger-why").textContent =
    `What ${reader()} read from every head and MLP, in logits for ${whose()}. Nothing is left out: the parts add up to the very logit.`;
  const name = ledger.other === null ? "logit" : "difference of the logits";
  $(".att-ledger-sum").replaceChildren("Sum of all votes ", make("strong", "", signed(ledger.total, 3)), ` · ${name} `, make("strong", "", signed(ledger.logit, 3)));
  const heads = ledger.heads.flatMap((votes, place) => votes.map((vote, head) => ({ vote, place, head })));
  heads.sort((a, b) => Math.abs(b.vote) - Math.abs(a.vote));
  $(".att-ledger-top").replaceChildren(
    ...heads.slice(0, TOP).map(({ vote, place, head }) => {
      const made = button("att-chip");
      Object.assign(made.dataset, { layer: place + 1, head });
      made.append(make("span", "", `layer ${place + 1}, head ${head}`), make("small", "", signed(vote)));
      return made;
    })
  );
}

function lineOf(name, title, values, most) {
  const line = make("tr");
  const head = make("th", "", name);
  head.scope = "row";
  head.title = title;
  const bars = make("td", "att-ledger-bars");
  for (const [kind, value] of values) {
    const bar = make("i", kind);
    bar.style.setProperty("--from", Math.min(0, value) / most);
    bar.style.setProperty("--wide", Math.abs(value) / most);
    bars.append(bar);
  }
  line.append(head, bars, make("td", "att-ledger-values", values.map(([, value]) => signed(value)).join("  ")));
  line.title = `${title}: ${values.map(([kind, value]) => `${kind === "rest" ? "" : `${kind} `}${signed(value)}`).join(", ")}`;
  return line;
}
