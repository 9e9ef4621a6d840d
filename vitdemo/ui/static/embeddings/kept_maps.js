// Maps of large collections that the operator keeps: each is a page of its own, shown in a frame that can reach nothing of this page.
import { make, say } from "../lib/dom.js";
import { GONE, rpc } from "../lib/rpc.js";
import { tab } from "./shared.js";

// Opens a choice's map; closes it where it is open.
async function toggle(choice) {
  const { $, $$ } = tab;
  const box = $(".emb-kept-page");
  const isOpen = choice.getAttribute("aria-pressed") === "true";
  for (const other of $$("[data-kept]")) other.setAttribute("aria-pressed", "false");
  $(".emb-kept-problem").hidden = true;
  box.replaceChildren();
  box.hidden = true;
  if (isOpen) return;
  choice.setAttribute("aria-pressed", "true");
  box.hidden = false;
  box.append(make("p", "map-why", "Fetching the map …"));
  const answer = (await rpc("embeddings/kept", { number: Number(choice.dataset.kept) })) || { error: GONE };
  if (choice.getAttribute("aria-pressed") !== "true") return;
  if (answer.error) {
    choice.setAttribute("aria-pressed", "false");
    box.hidden = true;
    return say($(".emb-kept-problem"), answer.error);
  }
  const theme = document.body.classList.contains("dark") ? "dark" : "light";
  const srcdoc = answer.page.replace("<html ", `<html data-theme="${theme}" `);
  const frame = Object.assign(document.createElement("iframe"), { title: `Map: ${choice.textContent}`, srcdoc });
  frame.sandbox = "allow-scripts";
  box.replaceChildren(frame);
}

export function mountKeptMaps() {
  for (const choice of tab.$$("[data-kept]")) choice.addEventListener("click", () => toggle(choice));
}
