// Where the model looks. What Python said of the photo, the numbers it sent, and what is on show. Nothing a visitor named becomes HTML here.
const explorer = element.closest("#attention");
const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : share > 0.999 && share < 1 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`);
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

let told = null; // what Python said of the photo on show
let numbers = {}; // its arrays, by name
let links = new Map(); // head → its attention in every layer, for the hover
let classes = new Map(); // class → {name, probability, heats}
let off = new Set(); // heads that are switched off, "layer,head"
const view = {
  method: "relevance",
  layer: 12, // from 1
  head: "mean", // or a number from 0
  direction: "looks-at",
  hover: null, // a patch, [row, column]
  held: null,
  target: null, // a class
  other: null,
  part: "difference", // which of the two classes' maps, or their difference
  colours: "inferno",
  opacity: 0.5,
  smooth: true,
  even: false, // peaks cut off
  split: 0, // share of the photo that stays bare
};

function unpack(buffer, sections) {
  return Object.fromEntries(Object.entries(sections).map(([name, [type, start, count]]) => [name, new TYPES[type](buffer, start, count)]));
}

async function fetched(path) {
  const answer = await fetch(file(path));
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

// Ask Python. What goes wrong is shown, and nothing comes back for it, nor for a photo that has been replaced meanwhile.
async function ask(name, asked = {}) {
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
function working(text) {
  clearTimeout(waitingToSay);
  if (!text) return ($(".att-badge").hidden = true);
  waitingToSay = setTimeout(() => {
    $(".att-badge").hidden = false;
    $(".att-badge-text").textContent = text;
  }, PATIENCE);
}

function problem(text) {
  $(".att-problem").hidden = !text;
  $(".att-problem").textContent = text;
}

const reader = () => (told.cls ? "CLS" : "the pooled answer"); // what gives the answer
const patch = () => view.hover || view.held;
const rows = () => told.geometry.grid[0];
const columns = () => told.geometry.grid[1];
const patches = () => rows() * columns();
const signed = () => !patch() && view.method === "relevance" && view.other !== null && view.part === "difference";

// What the server is asked about the map on show; a patch counts when it is held.
function question() {
  const look = { colours: view.colours, opacity: view.opacity, smooth: view.smooth, even: view.even, layer: view.layer };
  if (view.held) return { ...look, method: view.direction, patch: view.held, head: view.head };
  if (view.method === "cls") return { ...look, method: "cls", head: view.head };
  if (view.method === "rollout") return { ...look, method: "rollout" };
  if (view.other === null || view.part === "a") return { ...look, method: "relevance", target: view.target };
  if (view.part === "b") return { ...look, method: "relevance", target: view.other };
  return { ...look, method: "relevance", target: view.target, other: view.other };
}

// The map on show, one number a patch; null while its numbers are on their way.
function heat(layer = view.layer) {
  const place = layer - 1;
  if (patch()) return linked(place, patch());
  if (view.method === "rollout") return numbers.rollout.subarray(place * patches(), layer * patches());
  if (view.method === "cls") return clsHeat(place, view.head);
  return classHeat(view.other === null ? "a" : view.part, layer);
}

// The relevance for the class, for the other one, or their difference.
function classHeat(part, layer = view.layer) {
  const [a, b] = [view.target, view.other].map((each) => classes.get(each)?.heats?.subarray((layer - 1) * patches(), layer * patches()));
  if (part === "a") return a || null;
  if (part === "b") return b || null;
  return a && b ? a.map((value, index) => value - b[index]) : null;
}

function clsHeat(place, head) {
  const start = place * told.heads * patches();
  const all = numbers.heads.subarray(start, start + told.heads * patches());
  if (head !== "mean" && head !== "max" && head !== "min") return all.subarray(head * patches(), (head + 1) * patches());
  const fused = new Float32Array(patches());
  for (let index = 0; index < fused.length; index++) {
    let value = all[index];
    for (let each = 1; each < told.heads; each++) {
      const next = all[each * patches() + index];
      value = head === "mean" ? value + next : head === "max" ? Math.max(value, next) : Math.min(value, next);
    }
    fused[index] = head === "mean" ? value / told.heads : value;
  }
  return fused;
}

// What a patch looks at, or is looked at by: a row, or a column, of the attention.
function linked(place, [row, column]) {
  const found = view.head === "mean" ? numbers : links.get(view.head);
  if (!found?.links) return null;
  const count = told.tokens;
  const token = told.prefix + row * columns() + column;
  const base = place * count;
  const answer = new Float32Array(patches());
  for (let index = 0; index < answer.length; index++) {
    const [from, to] = view.direction === "looks-at" ? [token, told.prefix + index] : [told.prefix + index, token];
    answer[index] = found.low[base + from] + found.links[(base + from) * count + to] * found.scale[base + from];
  }
  return answer;
}

// As it is drawn: where peaks are evened out, nothing is hotter than the 95th percentile.
function drawable(values) {
  if (!view.even || signed() || !values) return values;
  const most = Float32Array.from(values).sort()[Math.floor(0.95 * (values.length - 1))];
  return values.map((value) => Math.min(value, most));
}

// The values at the ends of the colours; for a difference as far below nought as above it.
function span(values, even = signed()) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!even) return [low, high];
  const reach = Math.max(-low, high);
  return [-reach, reach];
}

const digits = (value) => (value === 0 ? "0" : Math.abs(value) < 0.001 ? value.toExponential(1) : value.toPrecision(3)).replace("-", "−");
const tableOf = (name) => numbers[`colours-${name}`];
const colours = (even = signed()) => (even ? "coolwarm" : view.colours);
