// A result and the runs: use the model, download it, look closer, compare, rename and remove.
import { pause } from "../lib/dom.js";
import { RENAMED } from "../lib/models.js";
import { NO_ANSWER, rpc, save } from "../lib/rpc.js";

const USE_PATIENCE = 30_000; // milliseconds for the model list to select a new model

// Hears the result and the runs, which new ones replace. `session` gives the session's id; `fail` tells what went wrong; `poll` asks for
// what has changed; `select` makes a model the selected one.
export function hearResult(result, runs, session, fail, poll, select) {
  const tell = (text) => (result.querySelector(".used").textContent = text);
  async function use() {
    const answer = await rpc("finetune/use", { session: session() });
    if (!answer?.name) return fail(answer?.error || NO_ANSWER);
    select(answer);
    tell("Loading it …");
    for (let waited = 0; document.documentElement.dataset.model !== answer.name; waited += 100) {
      if (waited > USE_PATIENCE) {
        tell("");
        return fail(NO_ANSWER);
      }
      await pause(100);
    }
    tell("Every tab now uses this model. It is the first in the model list.");
  }

  async function download() {
    const answer = await rpc("finetune/download", { session: session() });
    if (!answer?.path) return fail(answer?.error || "The download failed: try again.");
    save(answer.path);
  }

  result.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.classList.contains("use")) use();
    else if (button.classList.contains("take")) download();
    else if (button.classList.contains("looks")) {
      button.disabled = true;
      const answer = await rpc("finetune/looks", { session: session() });
      button.disabled = false;
      if (answer?.html) result.querySelector(".looked").innerHTML = answer.html; // from our own template, which escapes
      else fail(answer?.error || NO_ANSWER);
    } else if (button.dataset.label !== undefined) {
      const answer = await rpc("finetune/cell", { session: session(), label: button.dataset.label, taken: button.dataset.taken });
      if (answer?.html) result.querySelector(".cell").innerHTML = answer.html; // from our own template, which escapes
    }
  });

  // The runs: one is on show, and its buttons are the result's.
  const runOf = (target) => target.closest("[data-run]")?.dataset.run;
  async function ofRun(name, asked) {
    const answer = await rpc(`finetune/${name}`, { session: session(), ...asked });
    if (!answer || answer.error) fail(answer?.error || NO_ANSWER);
    return answer && !answer.error ? answer : null;
  }
  runs.addEventListener("change", async (event) => {
    if (!event.target.classList.contains("run-title")) return;
    const own = await ofRun("title", { run: runOf(event.target), title: event.target.value });
    const [selected, precision] = (document.documentElement.dataset.model || "").split("@");
    if (own?.name === selected) select({ name: precision ? `${selected}@${precision}` : selected, title: own.title });
    if (own) document.dispatchEvent(new CustomEvent(RENAMED));
    event.target.blur();
    poll();
  });
  runs.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    const run = runOf(event.target);
    if (!button) return;
    fail("");
    if (button.classList.contains("run-against")) {
      const answer = await rpc("finetune/against", { session: session(), run, other: runOf(runs.querySelector(".run-row.shown")) });
      runs.querySelector(".run-said").textContent = answer?.text || answer?.error || NO_ANSWER;
      return;
    }
    if (button.classList.contains("run-remove")) await ofRun("remove", { run });
    else if (await ofRun("show", { run })) {
      if (button.classList.contains("run-use")) await use();
      if (button.classList.contains("run-take")) await download();
    }
    poll();
  });
}
