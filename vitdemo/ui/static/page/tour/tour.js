// The guided tour: a card in a row of its own leads through all tabs. Each step shows a thing above the card and says it in a few words;
// in the end the page is as it was. Any element with data-tour starts it.
import { finders, openTab, pause } from "../../lib/dom.js";
import { keep, restore } from "./kept.js";
import { leaveStage } from "./stage.js";
import { STEPS } from "./steps.js";

const PATIENCE = 60_000; // milliseconds until a step that does not come is skipped
const ANOTHER = Symbol("another step is wanted");

export default function mount({ element }) {
  const { $ } = finders(element);
  const card = $(".tour");
  let at = -1; // the step, -1 for none
  let turn = 0; // number of the newest step that was asked for
  let kept = null; // what the page was like
  let restored = Promise.resolve();

  // Waits until look() finds something, and gives it back; nothing where it does not come. Throws once another step is wanted.
  const waiting = (mine) => async (look, patience = PATIENCE) => {
    for (const end = Date.now() + patience; ; await pause(50)) {
      if (mine !== turn) throw ANOTHER;
      const found = look();
      if (found || Date.now() > end) return found;
    }
  };

  async function start() {
    if (at >= 0) return;
    at = 0;
    await restored;
    kept = keep();
    card.hidden = false;
    document.documentElement.classList.add("touring");
    go(0);
  }

  async function go(to, way = 1) {
    const until = waiting(++turn);
    at = to;
    for (; STEPS[at]; at += way) {
      const step = STEPS[at];
      tell({ title: step.tab, text: step.waits ?? "One moment …" }, true);
      if (step.tab !== "Attention") leaveStage();
      openTab(step.tab);
      try {
        const said = await step.show(until);
        await until(() => true);
        if (said) return tell(said);
      } catch (reason) {
        if (reason === ANOTHER) return;
        console.error(reason); // the tour goes on with the next step
      }
    }
    way < 0 ? go(0) : end();
  }

  // Says what there is to say, with what is to be watched in sight and marked.
  function tell({ title, text, watch = [] }, busy = false) {
    $(".tour-count").textContent = `${at + 1} of ${STEPS.length}`;
    $(".tour-title").textContent = title;
    $(".tour-text").textContent = text;
    $(".spinner").hidden = !busy;
    card.setAttribute("aria-busy", busy);
    $(".tour-back").disabled = at === 0;
    $(".tour-next").textContent = at === STEPS.length - 1 ? "Done" : "Next";
    $(".tour-title").focus({ preventScroll: true });
    measure();
    light(watch.map((part) => document.querySelector(part)));
  }

  // Marks the first part, and the others where there is room for them, too.
  /** @param {any[]} parts */
  function light(parts) {
    const [first, ...others] = parts;
    document.querySelectorAll(".tour-lit").forEach((part) => part.classList.remove("tour-lit"));
    first?.scrollIntoView({ block: "start" });
    const inSight = others.filter((part) => part.getBoundingClientRect().bottom < innerHeight - card.offsetHeight);
    for (const part of [first, ...inSight]) part?.classList.add("tour-lit");
  }

  function end() {
    turn++;
    at = -1;
    light([]);
    card.hidden = true;
    document.documentElement.classList.remove("touring");
    measure();
    restored = restore(kept);
  }

  const measure = () => document.documentElement.style.setProperty("--tour", `${card.offsetHeight}px`);
  const next = () => (at + 1 < STEPS.length ? go(at + 1) : end());
  const back = () => at > 0 && go(at - 1, -1);
  $(".tour-next").addEventListener("click", next);
  $(".tour-back").addEventListener("click", back);
  $(".tour-end").addEventListener("click", end);
  new ResizeObserver(measure).observe(card);

  const press = (event) => {
    if (card.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = event.target === document.body || card.contains(event.target);
    const does = event.key === "Escape" ? end : inside && { ArrowRight: next, ArrowLeft: back }[event.key];
    if (does) event.preventDefault();
    if (does || inside) event.stopPropagation(); // the keys of what is on show
    does && does();
  };
  const listeners = { keydown: press, click: (event) => event.target.closest?.("[data-tour]") && start() };
  for (const [kind, heard] of Object.entries(listeners)) {
    const hear = (event) => (element.isConnected ? heard(event) : document.removeEventListener(kind, hear, true));
    document.addEventListener(kind, hear, true);
  }
}
