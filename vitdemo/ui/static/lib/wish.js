// What other parts of the page wish to see in the Attention tab: two classes of a photo held against each other, or the tour.
import { openTab } from "./dom.js";

const WISHED = "vitdemo-wished";
let wish = null;

/** @param {{photo?: string, target?: number, other?: number | null, tour?: boolean, present?: boolean}} wished `photo`: its sha256, any where it is left out */
export function want(wished) {
  wish = wished;
  openTab("Attention");
  document.dispatchEvent(new CustomEvent(WISHED));
}

// Fulfils the wish once its photo is on show: `grant(wish)`; called when a photo is shown, and when there is a new wish.
export function heed(photo, grant) {
  const now = () => {
    const shown = photo();
    if (!wish || !shown || (wish.photo && wish.photo !== shown)) return;
    const granted = wish;
    wish = null;
    grant(granted);
  };
  document.addEventListener(WISHED, now);
  return now;
}
