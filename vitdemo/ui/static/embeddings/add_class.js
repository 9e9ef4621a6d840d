// The chosen photos sent to the Fine-tune tab as a class.
import { openTab } from "../lib/dom.js";
import { NO_ANSWER, rpc } from "../lib/rpc.js";
import { tab } from "./shared.js";

const FINETUNE = "vitdemo-finetune"; // under which that tab remembers its session
let anew = false; // what lies there was said to be lost, and is to be

// Suggests a name for the class.
export function nameClass(name) {
  anew = false;
  tab.$(".emb-class").value = name;
  tab.$(".emb-taught").hidden = true;
}

function taught(text, sent) {
  const { $ } = tab;
  $(".emb-taught span").textContent = text;
  $(".emb-link").hidden = !sent;
  $(".emb-taught").hidden = false;
}

async function send(event) {
  event.preventDefault();
  const label = tab.$(".emb-class").value.trim();
  const ids = tab.chosen.map((row) => row.id);
  const session = sessionStorage.getItem(FINETUNE);
  const answer = await rpc("embeddings/add_class", { gallery: tab.gallery.id, ids, label, anew, session });
  anew = Boolean(answer?.warning);
  if (!answer?.session) return taught(answer?.warning || answer?.error || NO_ANSWER, false);
  sessionStorage.setItem(FINETUNE, answer.session);
  document.dispatchEvent(new CustomEvent(FINETUNE, { detail: answer.session }));
  const photos = ids.length === 1 ? "1 photo is" : `${ids.length.toLocaleString("en")} photos are`;
  const next = answer.classes < 2 ? "Now select other photos and add a second class." : `There are ${answer.classes} classes by now.`;
  taught(`${photos} “${label}” in Fine-tune. ${next}`, true);
}

export function mountAddClass() {
  tab.$(".emb-teach").addEventListener("submit", send);
  tab.$(".emb-link").addEventListener("click", () => openTab("Fine-tune"));
}
