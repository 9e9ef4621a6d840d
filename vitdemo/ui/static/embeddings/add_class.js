// The chosen photos sent to the Fine-tune tab as a class.
const FINETUNE = "vitdemo-finetune"; // under which that tab remembers its session
let anew = false; // what lies there was said to be lost, and is to be

function nameClass(name) {
  anew = false;
  $(".emb-class").value = name;
  $(".emb-taught").hidden = true;
}

function taught(text, sent) {
  $(".emb-taught span").textContent = text;
  $(".emb-link").hidden = !sent;
  $(".emb-taught").hidden = false;
}

$(".emb-teach").addEventListener("submit", async (event) => {
  event.preventDefault();
  const label = $(".emb-class").value.trim();
  const ids = chosen.map((row) => row.id);
  const answer = await rpc("embeddings/add_class", { gallery: run, ids, label, anew, session: sessionStorage.getItem(FINETUNE) });
  anew = Boolean(answer?.warning);
  if (!answer?.session) return taught(answer?.warning || answer?.error || NO_ANSWER, false);
  sessionStorage.setItem(FINETUNE, answer.session);
  document.dispatchEvent(new CustomEvent(FINETUNE, { detail: answer.session }));
  const photos = ids.length === 1 ? "1 photo is" : `${ids.length.toLocaleString("en")} photos are`;
  const next = answer.classes < 2 ? "Now select other photos and add a second class." : `There are ${answer.classes} classes by now.`;
  taught(`${photos} “${label}” in Fine-tune. ${next}`, true);
});

$(".emb-link").addEventListener("click", () => openTab("Fine-tune"));
