// Asking the server, and the few words that every tab's script needs.
const $ = (selector) => element.querySelector(selector);
const $$ = (selector) => [...element.querySelectorAll(selector)];
const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
const button = (className, text = "") => Object.assign(make("button", className, text), { type: "button" });
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const root = window.gradio_config?.root || "";
const api = root + (window.gradio_config?.api_prefix || "/gradio_api");
const file = (path) => `${api}/file=${path}`;
const NO_ANSWER = "The server does not answer: check the connection and try again.";
const GONE = "The server does not answer: reload the page when it is back.";
const MISSES = 20; // questions without an answer, one a second, before a page gives up

// What Gradio says of the page, as soon as it is known: the `visitor`, or the `model` that is selected (components/identity.py).
async function known(name) {
  const said = document.documentElement.dataset;
  while (said[name] === undefined) await pause(30);
  return said[name];
}

// The answer of /page/<route> to one object; {error} has a sentence; null where nothing came back.
async function rpc(route, asked = {}) {
  try {
    const headers = { "content-type": "application/json", "x-vitdemo-visitor": await known("visitor") };
    const answer = await fetch(`${root}/page/${route}`, { method: "POST", headers, body: JSON.stringify(asked) });
    return await answer.json();
  } catch {
    return null;
  }
}

// Follows long work: asks while `wanted()`, with what `asked()` says. `heard(answer)` gives the milliseconds until the next question, or null
// when it is over; `lost()` hears that nobody answers.
async function follow(route, asked, wanted, heard, lost) {
  let misses = 0;
  while (wanted()) {
    const answer = await rpc(route, asked());
    if (!wanted()) return;
    if (!answer && ++misses > MISSES) return lost();
    if (answer) misses = 0;
    const next = answer ? await heard(answer) : 1000;
    if (next === null) return;
    await pause(next);
  }
}

// Saves a file that lies on the server.
function save(path, name = path.split("/").pop()) {
  Object.assign(document.createElement("a"), { href: file(path), download: name }).click();
}

// Opens a tab, as a click on it would.
function openTab(name) {
  const tabs = [...document.querySelectorAll("[role=tab]")].filter((each) => each.textContent.trim() === name);
  (tabs.find((each) => each.offsetParent) || tabs[0])?.click();
}
