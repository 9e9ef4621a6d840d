// The answer: how many classes are shown, and its ways to the Attention tab: why this class and not the next one, and the tour.
import { want } from "../lib/wish.js";
import { finders, rendered } from "../lib/dom.js";

export default function mount({ element }) {
  const { $, $$ } = finders(element);
  let count = 5; // stays with the next photo

  function draw() {
    $$(".predictions li").forEach((line, index) => (line.hidden = index >= count));
    if ($(".count output")) $(".count output").textContent = Math.min(count, $$(".predictions li").length);
  }

  element.addEventListener("click", (event) => {
    const { step, photo, target, other } = event.target.closest("button")?.dataset || {};
    if (step) {
      count = Math.min($$(".predictions li").length, Math.max(1, count + Number(step)));
      draw();
    } else if (target) want({ photo, target: Number(target), other: other ? Number(other) : null });
    else if (photo) want({ photo, tour: true });
  });
  rendered(element, draw);
}
