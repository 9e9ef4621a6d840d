// A training's settings: the preset, what differs from it, and how long a training with them would take.
import { pause } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { known, rpc } from "../lib/rpc.js";

// Hears the settings. `session` gives the session's id, null without photos; `changed` is called at each change.
export function hearSettings(element, session, changed) {
  const $ = (selector) => element.querySelector(selector);
  const preset = () => $("[name=preset]:checked").value;
  const title = () => `“${$("[name=preset]:checked + span strong").textContent}”`;
  const switches = [...element.querySelectorAll("[data-name]")];
  const usual = (each) => JSON.parse(each.dataset.values)[preset()];
  const differing = () => switches.filter((each) => each.value !== usual(each)).map((each) => [each.dataset.name, each.value]);

  function take() {
    for (const each of switches) each.value = usual(each);
    note();
  }

  // Names the settings that differ: they stay for other photos, folded or not.
  function note() {
    const names = switches.filter((each) => each.value !== usual(each)).map((each) => each.closest("label").querySelector(".setting-name").firstChild.textContent.trim());
    $(".differing").hidden = !names.length;
    $(".differing span").textContent = `Changed from ${title()}: ${names.join(", ").toLowerCase()}.`;
  }
  take();

  // What the server is asked for.
  const asked = async () => ({ session: session(), model: await known("model"), preset: preset(), recipe: Object.fromEntries(differing()) });
  // All that tells two requests apart, as a text.
  const key = () => JSON.stringify([document.documentElement.dataset.model, preset(), ...switches.map((each) => each.value)]);

  // The preset and the settings that a run was started with. Returns: whether the preset is there.
  function restore({ preset, recipe }) {
    const button = $(`[name=preset][value="${CSS.escape(preset)}"]`);
    if (!button) return false;
    button.checked = true;
    take();
    for (const each of switches) if (each.dataset.name in recipe) each.value = recipe[each.dataset.name];
    note();
    return true;
  }

  // How long it would take, by a pass that is measured once.
  let foretelling = 0;
  async function foretell() {
    const mine = ++foretelling;
    await pause(250);
    if (mine !== foretelling || !session() || $(".plan").hidden) return;
    const answer = await rpc("finetune/estimate", await asked());
    if (mine !== foretelling) return;
    if (answer?.seconds === null) {
      await pause(2000);
      if (mine === foretelling) foretell();
      return;
    }
    const long = answer?.seconds < 10 ? "A few seconds" : `About ${duration(answer?.seconds)}`;
    const words = answer?.seconds ? `${long} for these ${answer.photos} photos on this machine, by a measured pass; it takes some seconds to start.` : "";
    $(".estimate").textContent = answer?.error || words; // such as a setting that can't be
  }

  const hear = () => {
    note();
    changed();
    foretell();
  };
  for (const each of element.querySelectorAll("[name=preset]")) each.addEventListener("change", () => (take(), hear()));
  $(".plan").addEventListener("input", hear);
  $(".reset").addEventListener("click", () => (take(), hear()));
  new MutationObserver(hear).observe(document.documentElement, { attributeFilter: ["data-model"] });
  return { asked, key, restore, foretell };
}
