// Maps of a class: which class, and which other one it is held against.
import { bytesOf } from "../lib/arrays.js";
import { button, make } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { redraw } from "./draw.js";
import { classHeat, colours, span, tableOf } from "./heat.js";
import { drawTile } from "./overlay.js";
import { $, $$, ask, changed, classes, columns, follow, kind, ofClass, rows, told, view, working } from "./state.js";

export function listen() {
  follow("layer", drawThree);
  $$(".att-picker").forEach(buildPicker);
}

export function startClasses() {
  if (!told.top.length) return;
  if (view.target === null) setClass("target", told.top[0].index);
  else [view.target, view.other].forEach(wantClass);
  drawClasses();
}

// One class, and another one that it is held against, null for none.
export function holdAgainst(target, other) {
  setClass("target", target);
  setClass("other", other);
  $(".att-versus").open = other !== null;
}

async function wantClass(target) {
  const wanted = kind();
  if (!ofClass() || target === null || classes.get(target)?.heats?.[wanted]) return;
  working("Computing what supports this class …");
  const answer = await ask("class_map", { question: { method: view.method, gradient: view.plain ? "plain" : "libra", target } });
  working("");
  if (!answer) return;
  const heats = { ...classes.get(target)?.heats, [wanted]: new Float32Array(bytesOf(answer.heats)) };
  classes.set(target, { ...answer, heats });
  drawClasses();
  redraw();
}

function setClass(role, target) {
  view[role] = target;
  if (role === "other" && target === view.target) view.other = null;
  if (role === "target" && target === view.other) view.other = null;
  view.part = "difference";
  view.held = null;
  wantClass(view.target);
  wantClass(view.other);
  drawClasses();
  redraw();
  changed("class");
}

function chip(found, role) {
  const chosen = view[role] === found.index;
  const made = button("att-chip");
  made.dataset.index = found.index;
  made.setAttribute("aria-pressed", chosen);
  made.append(make("span", "", found.name), make("small", "", percent(found.probability)));
  made.addEventListener("click", () => setClass(role, role === "other" && chosen ? null : found.index));
  return made;
}

function drawClasses() {
  for (const box of $$(".att-picker")) {
    const { role } = box.dataset;
    const known = told.top.some((found) => found.index === view[role]);
    const extra = view[role] !== null && !known && classes.has(view[role]) ? [classes.get(view[role])] : [];
    const list = [...told.top, ...extra].filter((found) => role === "target" || found.index !== view.target);
    const focused = box.querySelector(":focus")?.dataset.index;
    box.querySelector(".att-chips").replaceChildren(...list.map((found) => chip(found, role)));
    if (focused) box.querySelector(`.att-chips [data-index="${focused}"]`)?.focus();
  }
  drawThree();
}

// The two maps and their difference, small; a click lays one over the photo.
export function drawThree() {
  const [a, b] = [classes.get(view.target), classes.get(view.other)];
  $(".att-three").hidden = view.other === null;
  if (view.other === null || !a?.heats?.[kind()] || !b?.heats?.[kind()]) return $(".att-three").replaceChildren();
  const parts = [["a", a.name], ["b", b.name], ["difference", "difference"]];
  const focused = $(".att-three :focus")?.dataset.part;
  $(".att-three").replaceChildren(
    ...parts.map(([part, name]) => {
      const made = button("att-third");
      const small = Object.assign(make("canvas"), { width: columns(), height: rows() });
      const [values, even] = [classHeat(part), part === "difference" || view.method !== "relevance"];
      drawTile(small, values, tableOf(colours(even)), span(values, even));
      made.append(small, make("span", "", name));
      made.dataset.part = part;
      made.setAttribute("aria-pressed", part === view.part);
      made.addEventListener("click", () => {
        view.part = part;
        drawThree();
        redraw();
      });
      return made;
    })
  );
  if (focused) $(`.att-three [data-part="${focused}"]`)?.focus();
}

// Each picker: the top five as buttons, and a search for any other.
function buildPicker(box) {
  const { role } = box.dataset;
  const search = Object.assign(make("input", "att-search"), { type: "search", placeholder: "or search any class", maxLength: 100 });
  search.setAttribute("aria-label", role === "target" ? "Search a class" : "Search the other class");
  const list = make("div", "att-found");
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "Classes found");
  const said = make("p", "att-why");
  said.setAttribute("role", "status");
  const chips = make("div", "att-chips");
  chips.setAttribute("role", "group");
  chips.setAttribute("aria-label", role === "target" ? "Top classes" : "Top other classes");
  box.append(chips, search, said, list);
  let waiting = 0;
  const close = () => {
    clearTimeout(waiting);
    search.value = said.textContent = "";
    list.replaceChildren();
  };
  const show = async () => {
    const words = search.value.trim();
    const answer = words ? await ask("classes", { words }) : null;
    if (words !== search.value.trim()) return;
    list.replaceChildren(
      ...(answer?.classes || []).map((found) => {
        const made = button("");
        made.title = found.whole;
        made.append(make("span", "", found.name), make("small", "", percent(found.probability)));
        made.addEventListener("click", () => {
          classes.set(found.index, { ...found, ...classes.get(found.index) });
          close();
          setClass(role, found.index);
        });
        return made;
      })
    );
    const more = answer?.more ? `, and ${answer.more} more: type on` : "";
    const result = answer?.classes.length ? `${answer.classes.length} found${more}` : "No class has these words in its name.";
    said.textContent = words && answer ? result : "";
  };
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("button")?.click();
  });
  box.addEventListener("keydown", (event) => {
    const stops = [search, ...list.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] || 0;
    const next = event.key === "Escape" ? search : stops[stops.indexOf(event.target) + step];
    if (!stops.includes(event.target) || !next || next === event.target) return;
    event.preventDefault();
    if (event.key === "Escape") close();
    next.focus();
  });
  box.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !box.contains(event.relatedTarget)) close();
  });
}
