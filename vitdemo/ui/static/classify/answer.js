// The answer: how many classes are shown, on which scale, copies of it, and its way to the Attention tab: why this class and not the next
// one.
import { copy, finders, rendered } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { want } from "../lib/wish.js";

export default function mount({ element }) {
  const { $, $$ } = finders(element);
  let [count, log] = [5, false]; // stay with the next photo

  function draw() {
    $$(".predictions li").forEach((line, index) => (line.hidden = index >= count));
    if (!$(".answer-foot")) return;
    $(".count output").textContent = Math.min(count, $$(".predictions li").length);
    $("[data-log]").setAttribute("aria-pressed", log);
    $(".answer").classList.toggle("in-log", log);
  }

  const texts = {
    json: () => JSON.stringify(shown(), null, 2),
    python: () => $(".answer-foot").dataset.python,
    text: () => shown()[0].predictions.map(({ label, probability }) => `${percent(probability)}\t${label}`).join("\n"),
  };

  function shown() {
    const [{ predictions, ...rest }] = JSON.parse($(".answer-foot").dataset.json);
    return [{ ...rest, predictions: predictions.slice(0, count) }];
  }

  element.addEventListener("click", (event) => {
    const pressed = event.target.closest("button");
    const { step, photo, target, other, copy: kind } = pressed?.dataset || {};
    if (step) count = Math.min($$(".predictions li").length, Math.max(1, count + Number(step)));
    if (pressed?.matches("[data-log]")) log = !log;
    draw();
    if (kind) copy(texts[kind](), $(".copied"), `Copied as ${pressed.textContent.split(" ").at(-1)}.`);
    else if (target) want({ photo, target: Number(target), other: other ? Number(other) : null });
  });
  rendered(element, draw);
}
