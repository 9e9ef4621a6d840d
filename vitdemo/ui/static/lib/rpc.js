// Asking the server.
import { pause } from "./dom.js";

/** @type {{root?: string, api_prefix?: string}} */
const gradio = /** @type {any} */ (window).gradio_config || {};
// Of the page's own site, whatever Gradio takes its name and protocol for behind a proxy.
const root = gradio.root ? new URL(gradio.root, location.href).pathname.replace(/\/$/, "") : "";
export const api = root + (gradio.api_prefix || "/gradio_api");
export const NO_ANSWER = "The server does not answer: check the connection and try again.";
export const GONE = "The server does not answer: reload the page when it is back.";
const MISSES = 20; // questions without an answer, one a second, before a page gives up
const PATIENCE = 5_000; // milliseconds until what Gradio does not say is taken for empty

// What Gradio says of the page, as soon as it is known: the `visitor`, or the `model` that is selected (components/identity.py).
export async function known(name) {
  const said = document.documentElement.dataset;
  for (const until = Date.now() + PATIENCE; said[name] === undefined && Date.now() < until; ) await pause(30);
  return said[name] ?? "";
}

// The answer of /page/<route> to one object. {error} has a sentence, and `refused` where another part of the server said it than the route;
// null where nothing came back, in so many milliseconds where they are given.
export async function rpc(route, asked = {}, patience = 0) {
  try {
    const headers = { "content-type": "application/json", "x-vitdemo-visitor": await known("visitor") };
    const signal = patience ? AbortSignal.timeout(patience) : undefined;
    const answer = await fetch(`${root}/page/${route}`, { method: "POST", headers, body: JSON.stringify(asked), signal });
    const told = await answer.json();
    return answer.ok || answer.status === 400 ? told : { ...told, refused: true };
  } catch {
    return null;
  }
}

// Follows long work: asks while `wanted()`, with what `asked()` says. `heard(answer)` gives the milliseconds until the next question, or null
// when it is over; `lost()` hears that nobody answers.
export async function follow(route, asked, wanted, heard, lost) {
  let misses = 0;
  while (wanted()) {
    const answer = await rpc(route, asked());
    if (!wanted()) return;
    const missed = !answer || answer.refused || (answer.error === undefined && answer.state === undefined);
    if (missed && ++misses > MISSES) return lost();
    if (!missed) misses = 0;
    const next = missed ? 1000 : await heard(answer);
    if (next === null) return;
    await pause(next);
  }
}

// Files that lie on the server.

export const file = (path) => `${api}/file=${path}`;

export async function fetched(path) {
  const answer = await fetch(file(path));
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

export function save(path, name = path.split("/").pop()) {
  saveAs(file(path), name);
}

export function saveBlob(blob, name) {
  const href = URL.createObjectURL(blob);
  saveAs(href, name);
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

function saveAs(href, name) {
  Object.assign(document.createElement("a"), { href, download: name }).click();
}
