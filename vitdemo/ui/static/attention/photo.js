// A new photo: given here or in another tab, announced by Python, fetched, shown.
import { unpack } from "../lib/arrays.js";
import { fill, say } from "../lib/dom.js";
import { fetched, file } from "../lib/rpc.js";
import { sendPhoto } from "../lib/upload.js";
import { heed } from "../lib/wish.js";
import { startAnew as compareAnew } from "./evaluation/believe.js";
import { holdAgainst } from "./classes.js";
import { drawHeads, setHead, setMethod } from "./controls.js";
import { fit } from "./draw.js";
import { startAnew, test } from "./evaluation/erase.js";
import { drawMoves } from "./heads/ablation.js";
import { forget as forgetLedger } from "./heads/ledger.js";
import { drawWall, openHead } from "./heads/wall.js";
import { drawStrip } from "./filmstrip.js";
import { play, setLayer } from "./layers.js";
import { drawLensTable } from "./lens_table.js";
import { $, $$, changed, clearPhoto, explorer, ofClass, problem, props, setPhoto, told, trigger, view, working } from "./state.js";
import { drawBig } from "./show/presenter.js";

const EMPTY =
  "Drop a photo here, paste one, or choose one beside. " +
  "You will see where the model looks in it: layer by layer, head by head, patch by patch.";

let grantWish = () => {};

export function listen() {
  grantWish = heed(() => told?.photo_id, grant);
  $(".att-pick").addEventListener("change", pick);
  $("#attention-examples").addEventListener("click", (event) => {
    const sample = event.target.closest("[data-name]");
    if (sample) trigger("select", { name: sample.dataset.name });
  });
  const frame = $(".att-frame");
  for (const kind of ["dragenter", "dragover"]) {
    frame.addEventListener(kind, (event) => {
      event.preventDefault();
      frame.classList.add("over");
    });
  }
  frame.addEventListener("dragleave", () => frame.classList.remove("over"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("over");
    give(event.dataTransfer.files[0]);
  });
}

export function pick() {
  give($(".att-pick").files[0]);
  $(".att-pick").value = "";
}

async function give(photo) {
  if (!photo) return;
  problem("");
  showState("busy", "Uploading the photo …");
  try {
    trigger("upload", { path: await sendPhoto(photo), name: photo.name });
  } catch (error) {
    announce();
    problem(error.message);
  }
}

function grant(wish) {
  setMethod("relevance");
  setLayer(told.layers);
  holdAgainst(wish.target, wish.other);
}

export async function announce() {
  const value = props.value || {};
  if (value.state === "ready") return show(value);
  if (value.state === "error" && told) {
    working(""); // what is on show stays, with its photo's name
    return problem(`${value.text} The photo before it stays on show.`);
  }
  if (value.state === "error" || value.state === "empty") forget();
  if (value.state === "error") showState("error", value.text);
  else if (value.state === "busy") showState("busy", value.text, value.share);
  else showState("empty", EMPTY);
}

function showState(name, text = "", share = null) {
  working(name === "busy" && told ? text : "");
  if (name === "busy" && told) return;
  explorer.dataset.state = name;
  $(".att-text").textContent = text;
  $(".att-text").setAttribute("role", name === "error" ? "alert" : "status");
  $(".att-message .bar").hidden = share === null;
  fill($(".att-message .bar"), share || 0);
  $(".att-present").hidden = name !== "ready";
}

function forget() {
  play(false);
  test.running++;
  clearPhoto();
  forgetLedger();
  $(".att-name").textContent = "";
  $(".att-notes").hidden = true;
}

async function show(value) {
  if (value.session === told?.first) return;
  const image = $(".att-photo");
  let maps;
  try {
    const loaded = new Image();
    loaded.src = file(value.photo);
    [maps] = await Promise.all([fetched(value.maps), loaded.decode()]);
    if (props.value !== value && props.value?.session !== value.session) return;
    image.src = loaded.src;
    await image.decode();
  } catch {
    forget();
    return showState("error", "The numbers could not be fetched: check the connection and give the photo again.");
  }
  const layer = told ? Math.round((view.layer * value.layers) / told.layers) : value.layers;
  const method = value.top.length ? view.method : view.method === "rollout" ? "rollout" : "cls";
  forget();
  setPhoto(value, unpack(maps, value.sections));
  $(".att-name").textContent = `${value.name} · ${value.model}`;
  $(".att-title").textContent = "Looking …";
  say($(".att-notes"), value.notes.join(" "));
  showState("ready");
  fit();
  $(".att-layer").max = told.layers;
  drawHeads();
  drawStrip();
  drawLensTable();
  $$(".att-method button").forEach((radio) => (radio.disabled = ofClass(radio.dataset.method) && !told.top.length));
  $(".att-method [data-method=cls]").textContent = told.cls ? "CLS" : "Pooled";
  setMethod(method);
  if (view.target === null) changed("class"); // the method has none
  setHead(String(view.head));
  setLayer(layer);
  startAnew();
  compareAnew();
  drawWall();
  openHead(told.layers - 1, 0);
  $(".att-moves").replaceChildren();
  if (told.headsOff) drawMoves(told.top);
  problem("");
  drawBig();
  grantWish();
}
