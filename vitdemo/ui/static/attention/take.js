// Taking away: files made by the server from the same numbers, and Python on the clipboard.
$(".att-downloads").addEventListener("click", async (event) => {
  const kind = event.target.closest("[data-kind]")?.dataset.kind;
  if (!kind || !told) return;
  const said = $(".att-took");
  said.textContent = kind === "python" ? "Writing it …" : "Drawing it …";
  const answer = await ask("download", { question: question(), kind });
  if (!answer) return (said.textContent = "");
  if (kind !== "python") {
    return saveBlob(answer);
  }
  explorer.dataset.python = answer.text;
  try {
    await navigator.clipboard.writeText(answer.text);
    said.textContent = "Copied: plain timm that gives this map.";
  } catch {
    showText(answer.text); // the clipboard needs https or this machine
    said.textContent = "Mark the lines and copy them: the browser keeps the clipboard closed here.";
  }
});

// As a blob, since the server's own link comes with a name that leaves out the photo's.
async function saveBlob({ path, name }) {
  const data = await fetched(path).catch(() => null);
  if (!data) return ($(".att-took").textContent = "The file did not come: check the connection and try again.");
  const href = URL.createObjectURL(new Blob([data]));
  Object.assign(make("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
  $(".att-took").textContent = `Saved as ${name}.`;
}

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
