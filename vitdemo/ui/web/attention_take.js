// Taking away: files made by the server from the same numbers, and Python on the clipboard.
$(".att-downloads").addEventListener("click", async (event) => {
  const kind = event.target.closest("[data-kind]")?.dataset.kind;
  if (!kind || !told) return;
  const said = $(".att-took");
  said.textContent = kind === "python" ? "Writing it …" : "Drawing it …";
  const answer = await ask("download", { ...question(), kind });
  if (!answer) return (said.textContent = "");
  if (kind !== "python") {
    Object.assign(document.createElement("a"), { href: file(answer.path), download: answer.name }).click();
    return (said.textContent = `Saved as ${answer.name}.`);
  }
  root.dataset.python = answer.text;
  try {
    await navigator.clipboard.writeText(answer.text);
    said.textContent = "Copied: plain timm that gives this map.";
  } catch {
    showText(answer.text); // the clipboard needs https or this machine
    said.textContent = "Mark the lines and copy them: the browser keeps the clipboard closed here.";
  }
});

function showText(text) {
  let box = $(".att-python");
  if (!box) {
    box = Object.assign(make("textarea", "att-python"), { readOnly: true, rows: 12 });
    box.setAttribute("aria-label", "The map in Python");
    $(".att-took").after(box);
  }
  box.value = text;
  box.focus();
  box.select();
}
