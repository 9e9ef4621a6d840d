// Downloads: files made by the server from the same numbers, and Python on the clipboard.
import { copy } from "../lib/dom.js";
import { fetched, saveBlob } from "../lib/rpc.js";
import { $, ask, explorer, question, told } from "./state.js";

export function listen() {
  $(".att-downloads").addEventListener("click", (event) => {
    const kind = event.target.closest("[data-kind]")?.dataset.kind;
    if (kind && told) download(kind);
  });
}

async function download(kind) {
  const said = $(".att-took");
  said.textContent = kind === "python" ? "Writing it …" : "Drawing it …";
  const answer = await ask("download", { question: question(), kind });
  if (!answer) return (said.textContent = "");
  if (kind !== "python") return saveFile(answer);
  explorer.dataset.python = answer.text;
  await copy(answer.text, said, "Copied: plain timm that gives this map.");
}

// As a blob, since the server's own link comes with a name that leaves out the photo's.
async function saveFile({ path, name }) {
  const data = await fetched(path).catch(() => null);
  if (data) saveBlob(new Blob([data]), name);
  $(".att-took").textContent = data ? `Saved as ${name}.` : "The file did not come: check the connection and try again.";
}
