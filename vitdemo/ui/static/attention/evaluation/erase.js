// The erase test: the curves and their conclusion come from the server; the slider then works in the page.
import { make, pause } from "../../lib/dom.js";
import { percent, shownName } from "../../lib/format.js";
import { boxOf } from "../overlay.js";
import { $, ask, base, classes, columns, element, ofClass, patches, problem, question, titled, told, view } from "../state.js";

export const test = { curves: {}, order: [], random: [], target: null, running: 0, title: "", conclusion: "" };
const KINDS = {
  map: ["this map", "var(--bar)", "solid"],
  random: ["random orders", "var(--neutral-500)", "dashed"],
  centre: ["centre first", "var(--warn)", "dotted"],
};
const GREY = "rgb(128 128 128)";

export function listen() {
  $(".att-erase-start").addEventListener("click", startErase);
  $(".att-stop").addEventListener("click", () => ask("erased", { stop: true }));
  $(".att-k").addEventListener("input", drawErased);
}

// For a new photo.
export function startAnew() {
  Object.assign(test, { curves: {}, target: null, conclusion: "", running: test.running + 1 });
  $(".att-erase-row").hidden = $(".att-erase-line").hidden = true;
  $(".att-k").dataset.fresh = "yes";
  erasing(null);
}

export async function startErase() {
  if (!told) return;
  const mine = ++test.running;
  const title = titled();
  const asked = question();
  if (!ofClass(asked.method) && view.target !== null) asked.target = view.target;
  erasing(0);
  if (!(await ask("erase", { question: asked }))) return mine === test.running && erasing(null);
  Object.assign(test, { curves: {}, title, conclusion: "" });
  while (mine === test.running && element.isConnected) {
    const answer = await ask("erased");
    if (!answer || mine !== test.running) break;
    const { curves, order, random, target, conclusion } = answer;
    Object.assign(test, { curves, order, random, target, conclusion });
    erasing(answer.over ? null : answer.done);
    if (curves.map) drawErase();
    if (answer.error) problem(answer.error);
    if (answer.over) return;
    await pause(200);
  }
  if (mine === test.running) erasing(null);
}

function erasing(share) {
  const on = share !== null;
  $(".att-erase-start").disabled = on || !told?.top.length;
  $(".att-stop").hidden = !on;
  $(".att-erase-bar").hidden = !on;
  $(".att-erase-bar").setAttribute("aria-valuenow", Math.round(100 * (share || 0)));
  $(".att-erase-bar").firstElementChild.style.width = `${Math.max(4, 100 * (share || 0))}%`;
  const tested = test.curves.map ? `Tested: ${test.title}` : "";
  $(".att-erase-text").textContent = on ? "Erasing patches and asking the model again, in this map's order, ten random ones and from the centre …" : tested;
  $(".att-conclusion").textContent = test.conclusion;
}

const className = (target) => [...told.top, ...classes.values()].find((found) => found.index === target)?.name ?? `class ${target}`;

function drawErase() {
  const range = $(".att-k");
  const points = test.curves.map.erased;
  $(".att-erase-row").hidden = $(".att-erase-line").hidden = false;
  if (Number(range.max) !== points.length - 1 || range.dataset.fresh) {
    range.max = points.length - 1;
    range.value = Math.round((points.length - 1) / 4);
    delete range.dataset.fresh;
  }
  drawErased();
}

function drawErased() {
  const step = Number($(".att-k").value);
  const count = test.curves.map.erased[step];
  $(".att-k-text").textContent = `${count} of ${patches()}, ${Math.round((100 * count) / patches())} %`;
  $(".att-k").setAttribute("aria-valuetext", `${count} of ${patches()} patches`);
  const name = className(test.target);
  const kinds = [["map", test.order, "hottest patches"], ["random", test.random, "random patches, in the first order"]];
  for (const [kind, order, words] of kinds) {
    erasedPhoto($(`.att-erased-${kind}`), order.slice(0, count));
    const chance = test.curves[kind]?.deletion[step];
    const text = $(`.att-erased-${kind}-text`);
    text.replaceChildren(make("strong", "", chance === undefined ? "…" : percent(chance)), ` ${name} without ${count} ${words}`);
  }
  drawChart();
}

// The photo with some patches grey, as the model was given it.
function erasedPhoto(small, gone) {
  const photo = $(".att-photo");
  const scale = Math.min(1, 480 / Math.max(base.width, base.height));
  const [width, height] = [Math.round(base.width * scale), Math.round(base.height * scale)];
  if (small.width !== width || small.height !== height) [small.width, small.height] = [width, height];
  const context = small.getContext("2d");
  context.drawImage(photo, 0, 0, width, height);
  context.fillStyle = GREY;
  for (const index of gone) {
    const edges = boxOf(Math.floor(index / columns()), index % columns()).map((edge, place) =>
      Math.round((edge * (place % 2 ? height : width)) / told.geometry.photo[place % 2])
    );
    context.fillRect(edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]);
  }
}

const svg = (tag, attributes, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.textContent = text;
  return made;
};

function drawChart() {
  const [left, top, wide, high] = [52, 12, 296, 178];
  const total = test.curves.map.erased.at(-1);
  const highest = Math.max(0.02, ...Object.values(test.curves).flatMap((curve) => curve.high || curve.deletion));
  const most = highest > 0.5 ? 1 : highest;
  const x = (count) => left + (wide * count) / total;
  const y = (share) => top + high * (1 - share / most);
  const path = (values) => values.map((value, index) => `${x(test.curves.map.erased[index]).toFixed(1)} ${y(value).toFixed(1)}`);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(svg("line", { class: "rule", x1: left, x2: left + wide, y1: y(share * most), y2: y(share * most) }));
    const text = (100 * share * most).toFixed(most < 0.1 ? 1 : 0);
    parts.push(svg("text", { x: left - 6, y: y(share * most) + 4, "text-anchor": "end" }, text));
    const anchor = ["start", "middle", "end"][2 * share];
    parts.push(svg("text", { x: x(share * total), y: top + high + 18, "text-anchor": anchor }, String(100 * share)));
  }
  const middle = top + high / 2;
  parts.push(svg("text", { x: left + wide / 2, y: top + high + 38, "text-anchor": "middle" }, "patches erased, in %"));
  const upwards = { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` };
  parts.push(svg("text", upwards, `probability of ${shownName(className(test.target), 24)}, in %`));
  const { random } = test.curves;
  if (random) parts.push(svg("path", { class: "spread", d: `M${[...path(random.low), ...path(random.high).reverse()].join("L")}Z` }));
  const words = [];
  for (const [kind, [name, colour, line]] of Object.entries(KINDS)) {
    const curve = test.curves[kind];
    if (!curve) continue;
    parts.push(svg("path", { class: `curve ${kind}`, d: `M${path(curve.mean || curve.deletion).join("L")}`, stroke: colour }));
    const spread = curve.areas ? ` (${[Math.min, Math.max].map((end) => end(...curve.areas).toFixed(3)).join(" to ")})` : "";
    words.push([name, colour, line, `${curve.area.toFixed(3)}${spread}`]);
  }
  const step = Number($(".att-k").value);
  const at = test.curves.map.erased[step];
  parts.push(svg("line", { class: "now", x1: x(at), x2: x(at), y1: top, y2: top + high }));
  parts.push(svg("circle", { class: "dot", cx: x(at), cy: y(test.curves.map.deletion[step]), r: 5 }));
  $(".att-chart").replaceChildren(...parts);
  const areas = words.map(([name, , , area]) => `${name} ${area}`).join(", ");
  const label = `Probability of ${className(test.target)} while patches are erased; area under each curve, lower is better: ${areas}`;
  $(".att-chart").setAttribute("aria-label", label);
  const keys = words.map(([name, colour, drawn, area]) => {
    const key = make("span", "att-key");
    const line = make("i");
    Object.assign(line.style, { borderColor: colour, borderTopStyle: drawn });
    key.append(line, `${name} ${area}`);
    return key;
  });
  const spaced = keys.flatMap((key, index) => (index ? [" ", key] : [key]));
  $(".att-chart-text").replaceChildren("Area under each curve, lower is better: ", ...spaced);
}
