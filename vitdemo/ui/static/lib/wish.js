// What other parts of the page wish to see in the Attention tab: two classes of a photo held against each other.
import { openTab } from "./dom.js";

const WISHED = "vitdemo-wished";
let wish = null;

/** @param {{photo: string, target: number, other: number | null}} wished `photo`: its sha256 */
export function want(wished) {
  wish = wished;
  openTab("Attention");
  document.dispatchEvent(new CustomEvent(WISHED));
}

// Fulfils the wish once its photo is on show: `grant(wish)`; called when a photo is shown, and when there is a new wish.
export function heed(photo, grant) {
  const now = () => {
    const shown = photo();
    if (!wish || wish.photo !== shown) return;
    const granted = wish;
    wish = null;
    grant(granted);
  };
  document.addEventListener(WISHED, now);
  return now;
}
