// The photo in Classify: its map goes through the layers until somebody does something.
import { finders, pause, rendered } from "../lib/dom.js";

const PACE = 900; // milliseconds for a layer
const REST = 3; // layers' time for the last one
const SETTLED = 100; // milliseconds after a new answer

export default function mount({ element, trigger }) {
  const { $, $$ } = finders(element);
  let playing = 0;

  function show(layer) {
    const maps = $$(".map");
    maps.forEach((map, index) => map.classList.toggle("on", index + 1 === layer));
    if ($(".layer")) $(".layer").textContent = `Layer ${layer} of ${maps.length}. `;
  }

  function stop() {
    clearInterval(playing);
    playing = 0;
    if ($(".map")) show($$(".map").length);
  }

  function play() {
    clearInterval(playing);
    const last = $$(".map").length;
    if (!last) return;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return stop();
    let at = 0;
    const step = () => {
      if (!element.isConnected) return clearInterval(playing);
      at = (at + 1) % (last + REST);
      show(Math.min(at, last) || 1);
    };
    step();
    playing = setInterval(step, PACE);
  }

  if ($(".first")) $(".first").hidden = new URLSearchParams(location.search).get("photo") === "none";
  for (const kind of ["pointerdown", "keydown", "wheel"]) document.addEventListener(kind, () => playing && stop(), { passive: true });
  rendered(element, () => {
    play();
    comeIntoSight();
  });
  welcome();

  // On a phone a photo may be given from below it and its answer.
  async function comeIntoSight() {
    const box = element.closest("#view");
    if (!box.dataset.awaited) return;
    delete box.dataset.awaited;
    await pause(SETTLED); // the answer is as new, and a browser holds on to what was in sight
    const [picture, answer] = [box, document.querySelector("#answer")].map((part) => part.getBoundingClientRect());
    if (matchMedia("(max-width: 700px)").matches && (picture.top < 0 || answer.top > 0.8 * innerHeight)) box.scrollIntoView({ block: "start" });
  }

  // Asks for the sample on which the page opens, once Gradio's photo box is there: until then it would forget it.
  async function welcome() {
    while (element.isConnected && !document.querySelector("#photo [data-testid=image]")) await pause(20);
    if ($(".waiting:not(.stale)")) trigger("select", {}); // nobody was faster with a photo
  }
}
