// The chosen photos sent to the Fine-tune tab as a class.
const LESSON = "vitdemo-lesson"; // under which that tab remembers what it learns
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
  const answer = await server.teach({ run, ids, label, anew, lesson: sessionStorage.getItem(LESSON) }).catch(() => null);
  anew = Boolean(answer?.warning);
  if (!answer?.lesson) return taught(answer?.warning || answer?.error || "The server does not answer: try again.", false);
  sessionStorage.setItem(LESSON, answer.lesson);
  document.dispatchEvent(new CustomEvent(LESSON, { detail: answer.lesson }));
  const photos = ids.length === 1 ? "1 photo is" : `${ids.length.toLocaleString("en")} photos are`;
  const next = answer.classes < 2 ? "Now select other photos and add a second class." : `There are ${answer.classes} classes by now.`;
  taught(`${photos} “${label}” in Fine-tune. ${next}`, true);
});

$(".emb-link").addEventListener("click", () => {
  const tabs = [...document.querySelectorAll("[role=tab]")].filter((each) => each.textContent.trim() === "Fine-tune");
  (tabs.find((each) => each.offsetParent) || tabs[0])?.click();
});
