// What the page was like before the tour, to be given back.
import { openTab, pause } from "../../lib/dom.js";
import { forgetStage, giveBackStage } from "./stage.js";
import { closeSamples, isEmpty } from "./steps.js";

const find = (part) => /** @type {HTMLElement | null} */ (document.querySelector(part));
const PATIENCE = 10_000; // milliseconds for a photo to go

export function keep() {
  forgetStage();
  const open = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[role=tab][aria-selected=true]")]).filter((tab) => tab.offsetParent);
  return { focused: document.activeElement, tabs: open.map((tab) => tab.textContent.trim()), scrolled: scrollY };
}

export async function restore({ focused, tabs, scrolled }) {
  giveBackStage();
  if (closeSamples() && !isEmpty()) {
    openTab("Classify");
    await pause(300); // for the server to hear which tab is open
    find("#choose [data-does=remove]").click();
    for (const end = Date.now() + PATIENCE; !isEmpty() && Date.now() < end; ) await pause(50);
  }
  new Set(tabs).forEach(openTab);
  await pause(100); // for the tab to be there
  scrollTo({ top: scrolled, behavior: "instant" });
  focused?.focus({ preventScroll: true });
}
