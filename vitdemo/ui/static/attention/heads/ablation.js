// Heads that are switched off: the model is asked again without them, and the whole tab shows its answer.
import { unpack } from "../../lib/arrays.js";
import { make } from "../../lib/dom.js";
import { count, percent } from "../../lib/format.js";
import { fetched, NO_ANSWER } from "../../lib/rpc.js";
import { startAnew as compareAnew } from "../believe.js";
import { startClasses } from "../classes.js";
import { fitHead } from "../controls.js";
import { startAnew } from "../erase.js";
import { drawStrip } from "../filmstrip.js";
import { setLayer } from "../layers.js";
import { drawLensTable } from "./lens_table.js";
import { wantLedger } from "./ledger.js";
import { $, ask, off, ofClass, problem, setAnswer, told, view } from "../state.js";
import { drawBig } from "../show/presenter.js";
import { drawWall, openHead, wall } from "./wall.js";

export function listen() {
  $(".att-off").addEventListener("click", () => {
    const [place, head] = wall.open;
    const name = `${place + 1},${head}`;
    switchOff(off.has(name) ? [...off].filter((other) => other !== name) : [...off, name]);
  });
  $(".att-all-on").addEventListener("click", () => switchOff([]));
}

// Switches off these heads, "layer,head", and all others on.
export function switchOff(heads) {
  off.clear();
  heads.forEach((name) => off.add(name));
  openHead(...wall.open);
  answerWithout();
}

// The whole tab without the heads that are off. What is switched meanwhile is asked next.
let asking = null; // the photo's session
async function answerWithout() {
  if (asking === told.first) return;
  asking = told.first;
  while (asking === told?.first && told.off.join(" ") !== names()) {
    const asked = names();
    $(".att-moves").setAttribute("aria-busy", "true");
    const answer = await ask("ablate", { session: told.first, heads: [...off].map((name) => name.split(",").map(Number)) });
    const maps = answer && (await fetched(answer.maps).catch(() => problem(NO_ANSWER)));
    if (asking !== told?.first) return;
    if (!maps) {
      off.clear();
      told.off.forEach((name) => off.add(name));
    } else if (asked === names()) show(answer, maps);
  }
  asking = null;
  $(".att-moves").removeAttribute("aria-busy");
  openHead(...wall.open);
}

const names = () => [...off].sort().join(" ");

function show(answer, maps) {
  setAnswer({ ...answer, off: names() ? names().split(" ") : [] }, unpack(maps, answer.sections));
  drawStrip();
  drawLensTable();
  wantLedger();
  if (ofClass()) startClasses();
  fitHead();
  startAnew();
  compareAnew();
  drawWall();
  drawMoves(told.moves);
  drawBig();
  setLayer(view.layer);
}

export function drawMoves(moves) {
  const some = told.off.length;
  const lead = some ? `With ${some === 1 ? "one head" : count(some, "head")} off, the answer moves:` : "The answer with all heads:";
  const lines = moves.map((move) => {
    const line = make("div", "att-move");
    const name = make("span", "att-move-name", move.name);
    const bars = make("div", "att-move-bars");
    for (const [kind, share] of [["before", move.probability], ...(some ? [["after", move.after]] : [])]) {
      const bar = make("i", kind);
      bar.style.width = `${100 * share}%`;
      bars.append(bar);
    }
    const text = some ? `${percent(move.probability)} → ${percent(move.after)}` : percent(move.probability);
    line.append(name, make("span", "att-move-text", text), bars);
    return line;
  });
  $(".att-moves").removeAttribute("aria-busy");
  $(".att-moves").replaceChildren(make("p", "att-why", lead), ...lines);
}
