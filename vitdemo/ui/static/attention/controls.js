// The side: method, head, direction and how the picture is drawn. All of it happens in the page.
import { make, radios } from "../lib/dom.js";
import { drawThree, startClasses } from "./classes.js";
import { fit, redraw } from "./draw.js";
import { setLayer } from "./layers.js";
import { tell, wantLinks } from "./stage.js";
import { $, base, calm, changed, ofClass, patch, reader, told, view } from "./state.js";
import { drawLarge, drawWall, markWall, repaint, wall } from "./heads/wall.js";

const WHY = {
  relevance: () => "What supports a class: attention weighted by its influence on that class.",
  votes: () => `What ${told ? reader() : "CLS"} read from each patch, in logits of a class: red speaks for it, blue against it.`,
  fullgrad: () => "The class's logit, taken apart by its gradient; at every layer the parts add up to it. Red adds, blue takes away.",
  rollout: () => "Attention followed back through all layers, up to this one.",
  cls: () => `What ${told?.cls ?? true ? "the CLS token looks" : "the pooled patches look"} at in this layer.`,
};
const DIRECTIONS = {
  "looks-at": "Its query: where it takes information from.",
  "looked-at-by": "Its key: which patches take information from it.",
  value: "Its value in the map and its rank. The map stays as it is.",
};
const COLOURS = ["inferno", "viridis", "magma", "cividis"];
const PICTURE = [".att-opacity", ".att-split", ".att-colours", ".att-flat", ".att-smooth", ".att-even", ".att-locked", ".att-gridded", ".att-framed", ".att-artefacts"];
let markMethod, markDirection; // of the radio buttons

export function listen() {
  markMethod = radios($(".att-method"), setMethod, "method");
  markDirection = radios($(".att-direction"), setDirection, "direction");
  $(".att-head").addEventListener("change", (event) => setHead(event.target.value));
  for (const name of PICTURE) $(name).addEventListener("input", picture);
  $(".att-divider").addEventListener("pointerdown", slide);
  $(".att-artefact-toggle").addEventListener("click", () => {
    $(".att-artefacts").checked = !view.artefacts;
    picture();
  });
  $(".att-plain").addEventListener("input", (event) => {
    view.plain = event.target.checked;
    if (told) startClasses();
    redraw();
  });
  $(".att-on-photo").addEventListener("click", () => {
    setMethod("cls");
    setHead(String(wall.open[1]));
    setLayer(wall.open[0] + 1);
    $(".att-stage").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
  });
  $(".att-colours").append(...COLOURS.map((name) => Object.assign(make("option", "", name), { value: name })));
  setMethod("relevance");
  setDirection("looks-at");
}

export function setMethod(method) {
  markMethod(method);
  view.method = method;
  view.held = null;
  $(".att-method-why").textContent = WHY[method]();
  $(".att-plain-line").hidden = method !== "relevance";
  $(".att-classes").hidden = !ofClass();
  if (ofClass() && told) startClasses();
  fitHead();
  redraw();
  if (told) changed("method");
}

export function setDirection(direction) {
  markDirection(direction);
  view.direction = direction;
  $(".att-direction-why").textContent = DIRECTIONS[direction];
  if (told) tell();
  redraw();
}

export function setHead(value) {
  view.head = /^\d+$/.test(value) ? Number(value) : value;
  $(".att-head").value = String(value);
  if (patch()) wantLinks();
  markWall();
  redraw();
}

export function fitHead() {
  const one = "One head of the layer, or all of them combined.";
  const all = "This method uses all heads. The selection applies to the patch you point at.";
  const counted = told?.off.length ? " Mean, max, min and rollout still count the heads that are off." : "";
  $(".att-head-why").textContent = (view.method === "cls" ? one : all) + counted;
}

export function drawHeads() {
  const fused = [["mean", `mean of all ${told.heads}`], ["max", "max of all"], ["min", "min of all"]];
  const heads = Array.from({ length: told.heads }, (_, head) => [String(head), `head ${head}`]);
  $(".att-head").replaceChildren(...[...fused, ...heads].map(([value, text]) => Object.assign(make("option", "", text), { value })));
}

export function picture() {
  view.opacity = Number($(".att-opacity").value) / 100;
  view.split = Number($(".att-split").value) / 100;
  view.colours = $(".att-colours").value || "inferno";
  view.smooth = $(".att-smooth").checked;
  if (view.flat !== $(".att-flat").checked) {
    view.flat = $(".att-flat").checked;
    if (base) fit(); // what lies outside the crop looks different
  }
  view.even = $(".att-even").checked;
  view.locked = $(".att-locked").checked;
  if (view.artefacts !== $(".att-artefacts").checked) {
    view.artefacts = $(".att-artefacts").checked;
    if (told) drawWall();
  }
  $(".att-opacity-text").textContent = `${$(".att-opacity").value} %`;
  $(".att-split-text").textContent = view.split ? `${$(".att-split").value} %` : "off";
  drawLarge();
  drawThree();
  repaint();
  redraw();
}

// The divider follows the mouse, too.
function slide(event) {
  const box = $(".att-heat").getBoundingClientRect();
  const move = (moved) => {
    $(".att-split").value = Math.round((100 * (moved.clientX - box.left)) / box.width);
    picture();
  };
  const done = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", done);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", done);
  event.preventDefault();
}
