// The chosen photos sent to the Fine-tune tab as a class.
const LESSON = "vitdemo-lesson"; // under which that tab remembers what it learns

function nameClass(name) {
  $(".emb-class").value = name;
  $(".emb-taught").hidden = true;
}

$(".emb-teach").addEventListener("submit", async (event) => {
  event.preventDefault();
  const label = $(".emb-class").value.trim();
  const answer = await server.teach({ run, ids: chosen.map((row) => row.id), label, lesson: sessionStorage.getItem(LESSON) }).catch(() => null);
  problem(answer?.lesson ? "" : answer?.error || "The server does not answer: try again.");
  if (!answer?.lesson) return;
  sessionStorage.setItem(LESSON, answer.lesson);
  document.dispatchEvent(new CustomEvent(LESSON, { detail: answer.lesson }));
  $(".emb-taught span").textContent =
    answer.classes < 2 ? `“${label}” is in Fine-tune: now choose other photos and send a second class.` : `“${label}” is in Fine-tune, one of ${answer.classes} classes.`;
  $(".emb-taught").hidden = false;
});

$(".emb-link").addEventListener("click", () => {
  const tabs = [...document.querySelectorAll("[role=tab]")].filter((each) => each.textContent.trim() === "Fine-tune");
  (tabs.find((each) => each.offsetParent) || tabs[0])?.click();
});
