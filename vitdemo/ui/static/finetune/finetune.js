// Fine-tuning: sends photos, shows their classes, starts, follows and draws. Words of visitors become HTML by our templates alone, which
// escape them.
import { fill, finders, make, pause, say, tabsOf } from "../lib/dom.js";
import { duration, percent } from "../lib/format.js";
import { follow, GONE, known, NO_ANSWER, rpc, save } from "../lib/rpc.js";
import { hearFiles, Uploads } from "../lib/upload.js";
import { curves } from "./curves.js";
import { said } from "./progress.js";
import { hearTester } from "./tester.js";

const KEY = "vitdemo-finetune";
const AT_WORK = "Training is running on these photos: stop it first, or wait until it is done.";
const USE_PATIENCE = 30_000; // milliseconds for the model list to select a new model

export let close = () => {}; // forgets the photos, as before the first ones

export default function mount({ element, props, trigger }) {
  const { $ } = finders(element);
  let session = null;
  let events = [];
  const uploads = new Uploads(props.value.limits);
  let uploading = null;
  let wantData = true;
  let over = true; // nothing is being learned
  let [reportShown, runsShown] = ["", ""];

  function fail(text) {
    say($(".lesson-error"), text);
    if (text) $(".lesson-error").scrollIntoView({ block: "nearest" });
  }

  // The steps: what of them is shown is theirs, folding is the visitor's, and moves by itself where the next step begins.
  const stepOf = (name) => $(`.step[data-step="${name}"]`);
  function mark(name, said, hidden = false) {
    stepOf(name).hidden = hidden;
    stepOf(name).querySelector(".step-said").textContent = said;
  }
  function unfold(...names) {
    for (const name of ["data", "train", "result"]) stepOf(name).open = names.includes(name);
  }

  function reading(text, share) {
    $(".reading").hidden = false;
    $(".reading-text").textContent = text;
    fill($(".reading .bar"), share);
  }

  // Giving photos

  async function give(named) {
    fail(over ? "" : AT_WORK);
    if (!over) return;
    const { files, others } = await uploads.sort(named, true);
    if (!files.length) return fail("There are no photos in what you gave: give a folder with one sub-folder of photos for each class.");
    const why = uploads.refusal(files);
    if (why) return fail(why);
    uploading?.abort();
    say($(".left-out"), uploads.leftOut(files));
    const mine = (uploading = new AbortController());
    try {
      await begin(await uploads.send(files, mine.signal, reading), others);
    } catch (error) {
      if (uploading !== mine) return; // other photos are on their way instead
      $(".reading").hidden = true;
      fail(`The upload failed: ${error.message}`);
    }
  }

  async function begin(files, others = []) {
    fail(over ? "" : AT_WORK);
    if (!over) return;
    reading("Reading the photos …", 0);
    const answer = await rpc("finetune/give", { files, others });
    if (!answer?.session) {
      $(".reading").hidden = true;
      return fail(answer?.error || NO_ANSWER);
    }
    show(answer.session);
  }

  $(".examples-classes").addEventListener("click", () => {
    if (over) say($(".left-out"), "");
    begin("examples");
  });

  // Following

  function show(id) {
    session = id;
    sessionStorage.setItem(KEY, id);
    events = [];
    $(".guesses").replaceChildren();
    [wantData, over, reportShown, unfinished, changed] = [true, true, "", null, false];
    nameStart();
    $(".start").disabled = false;
    for (const part of [".data", ".plan", ".learning", ".result"]) $(part).hidden = true;
    mark("data", "");
    for (const name of ["train", "result"]) mark(name, "", true);
    unfold("data", "train", "result");
    poll();
  }

  close = () => {
    sessionStorage.removeItem(KEY);
    session = null;
    fail("");
    for (const part of [".reading", ".data", ".plan", ".learning", ".result"]) $(part).hidden = true;
    for (const name of ["train", "result"]) mark(name, "", true);
    atWork(false);
  };

  let polling = 0;
  function poll() {
    const [id, mine] = [session, ++polling];
    const hear = (answer) => {
      if (answer.error && !answer.state) {
        sessionStorage.removeItem(KEY);
        session = null;
        for (const part of [".reading", ".data", ".plan"]) $(part).hidden = true;
        fail(answer.error);
        return null;
      }
      if (answer.state === "failed") {
        $(".reading").hidden = true;
        fail(answer.text);
        return null;
      }
      if (answer.state === "reading") reading(`Reading the photos: ${answer.read} of ${answer.photos}`, answer.read / answer.photos);
      if (answer.data) {
        wantData = false;
        $(".reading").hidden = true;
        $(".data").hidden = false;
        const controls = () => [...$(".data").querySelectorAll("input, button, select")];
        const focused = controls().indexOf(document.activeElement);
        $(".data").innerHTML = answer.data; // from our own template, which escapes
        if (focused >= 0) (controls()[focused] || controls().at(-1))?.focus(); // where the keyboard was
        if (answer.asked) restore(answer.asked);
        $(".plan").hidden = Boolean($(".data .warning"));
        mark("train", "", $(".plan").hidden && !answer.job);
        mark("data", $(".data-head h2")?.textContent ?? "");
        foretell();
      }
      if (answer.job) {
        events.push(...answer.events);
        over = ["done", "stopped", "failed"].includes(answer.job);
        tell(answer);
      }
      return answer.state === "ready" && !wantData && (!answer.job || over) ? null : 300;
    };
    follow("finetune/poll", () => ({ session: id, start: events.length, data: wantData }), () => session === id && mine === polling, hear, () => fail(GONE));
  }

  // A dot on the tab while it is at work, which is seen from the other tabs.
  function atWork(on) {
    for (const tab of tabsOf("Fine-tune")) tab.classList.toggle("at-work", on);
  }

  function tell(answer) {
    atWork(!over);
    const epochs = events.flatMap((each) => (each.kind === "resumed" ? each.history : each.kind === "epoch" ? [each] : []));
    const last = events.at(-1);
    $(".learning").hidden = false;
    $(".stop").hidden = over;
    $(".start").disabled = !over;
    if (over) $(".stop").disabled = false;
    unfinished = over && answer.job !== "done" && epochs.length && !changed ? started : null;
    nameStart();
    $(".learning-text").textContent = said(answer, events, epochs, $(".stop").disabled);
    const blocks = last?.stage === "blocks";
    const part = last?.kind === "step" ? (last.epoch - 1 + last.done / last.total) / last.of : last?.kind === "epoch" ? last.epoch / last.of : 0;
    const share = answer.job === "done" ? 1 : last?.kind === "photos" ? last.done / last.total : blocks || last?.stage ? part : 0;
    fill($(".learning .bar"), share);
    $(".curves").replaceChildren(...curves(epochs));
    if (answer.guesses.length) $(".guesses").replaceChildren(...answer.guesses.map(guess));
    if (answer.job === "failed") fail(answer.error);
    if (answer.runs !== runsShown && !$(".runs").contains(document.activeElement?.closest(".run-title"))) {
      $(".runs").innerHTML = runsShown = answer.runs; // from our own template, which escapes
      $(".runs").hidden = !$(".run-row");
    }
    $(".result").hidden = !answer.report;
    mark("train", over ? { done: "done", stopped: "stopped", failed: "ended" }[answer.job] : "running", false);
    mark("result", answer.report ? ($(".result .figure")?.textContent ?? "") : "", !answer.report && $(".runs").hidden);
    if (answer.report && answer.report !== reportShown) {
      cameraOff();
      $(".result").innerHTML = reportShown = answer.report; // from our own template
      mark("result", $(".result .figure").textContent);
      if (answer.job === "done") arrive();
    }
  }

  // The result is what is looked at next.
  function arrive() {
    unfold("result");
    if (element.offsetParent) stepOf("result").scrollIntoView({ block: "start", behavior: "smooth" });
  }

  function guess(each) {
    const right = each.label === each.taken;
    const item = make("div", `guess ${right ? "right" : "wrong"}`);
    const words = make("div");
    words.append(make("strong", "", each.taken), make("span", "", `${percent(each.probability)} · ${right ? "correct" : `is ${each.label}`}`));
    item.append(Object.assign(new Image(44, 44), { src: each.uri, alt: "" }), words);
    return item;
  }

  // Choosing

  const preset = () => $("[name=preset]:checked").value;
  const switches = [...element.querySelectorAll("[data-name]")];

  function take() {
    for (const each of switches) each.value = JSON.parse(each.dataset.values)[preset()];
  }
  take();

  // Only the same settings resume a run that was stopped.
  let [started, unfinished, changed] = [null, null, false];
  const settings = () => JSON.stringify([document.documentElement.dataset.model, preset(), ...switches.map((each) => each.value)]);
  function nameStart() {
    $(".start").textContent = unfinished === null ? "Start training" : unfinished === settings() ? "Resume" : "Start over";
  }
  const asked = async () => ({ session, model: await known("model"), preset: preset(), recipe: Object.fromEntries(differing()) });
  const differing = () => switches.filter((each) => each.value !== JSON.parse(each.dataset.values)[preset()]).map((each) => [each.dataset.name, each.value]);

  // How long it would take, by a pass that is measured once.
  let foretelling = 0;
  async function foretell() {
    const mine = ++foretelling;
    await pause(250);
    if (mine !== foretelling || !session || $(".plan").hidden) return;
    const answer = await rpc("finetune/estimate", await asked());
    if (mine !== foretelling) return;
    if (answer?.seconds === null) {
      await pause(2000);
      if (mine === foretelling) foretell();
      return;
    }
    const long = answer?.seconds < 10 ? "A few seconds" : `About ${duration(answer?.seconds)}`;
    const words = answer?.seconds ? `${long} for these ${answer.photos} photos on this machine, by a measured pass; it takes some seconds to start.` : "";
    $(".estimate").textContent = answer?.error || words; // such as a setting that can't be
  }
  const settingsChanged = () => {
    nameStart();
    foretell();
  };
  $(".plan").addEventListener("input", settingsChanged);
  new MutationObserver(settingsChanged).observe(document.documentElement, { attributeFilter: ["data-model"] });

  // The preset and the settings that a run was started with.
  function restore({ preset, recipe }) {
    const button = element.querySelector(`[name=preset][value="${CSS.escape(preset)}"]`);
    if (!button) return;
    button.checked = true;
    take();
    for (const each of switches) if (each.dataset.name in recipe) each.value = recipe[each.dataset.name];
    started = settings();
  }
  for (const each of element.querySelectorAll("[name=preset]")) each.addEventListener("change", () => (take(), settingsChanged()));

  $(".start").addEventListener("click", async () => {
    fail("");
    $(".start").disabled = true;
    [started, changed] = [settings(), false];
    const answer = await rpc("finetune/start", await asked());
    if (!answer || answer.error) {
      $(".start").disabled = !over;
      return fail(answer?.error || NO_ANSWER);
    }
    events = [];
    [over, reportShown] = [false, ""];
    $(".guesses").replaceChildren();
    $(".result").hidden = true;
    $(".stop").disabled = false;
    $(".learning").hidden = false;
    $(".learning-text").textContent = "Getting ready …";
    mark("result", "", true);
    unfold("train", "result");
    $(".learning").scrollIntoView({ block: "nearest", behavior: "smooth" });
    poll();
  });
  $(".stop").addEventListener("click", () => {
    $(".stop").disabled = true;
    rpc("finetune/stop", { session });
  });

  // Renames classes, or takes folders as splits; without either, all changes are undone.
  async function change(changes) {
    fail("");
    const answer = await rpc("finetune/change", { session, ...changes });
    if (!answer || answer.error) fail(answer?.error || NO_ANSWER);
    wantData = true;
    [unfinished, changed] = [null, true];
    nameStart();
    poll();
  }
  $(".data").addEventListener("change", (event) => {
    const old = event.target.dataset.old;
    if (event.target.dataset.folder !== undefined) change({ folders: { [event.target.dataset.folder]: event.target.value } });
    else if (old !== undefined && event.target.value.trim() !== old) change({ names: { [old]: event.target.value.trim() } });
  });
  $(".data").addEventListener("click", (event) => {
    if (event.target.closest(".undo")) change({});
    else if (event.target.closest(".leave-out")) change({ names: { [event.target.closest(".leave-out").dataset.old]: "" } });
    else if (event.target.closest("[data-photos]")) showPhotos(event.target.closest("[data-photos]").dataset.photos);
    else if (event.target.closest(".photos-close")) closePhotos();
    else if (event.target.closest(".one-photo")) leaveOut(event.target.closest(".one-photo"));
  });

  // A class's photos, to leave single ones out. The classes are counted anew when the list is closed.
  let photosChanged = false;
  async function showPhotos(label) {
    const answer = await rpc("finetune/photos", { session, label });
    if (!answer?.html) return fail(answer?.error || NO_ANSWER);
    const box = $(".class-photos");
    box.innerHTML = answer.html; // from our own template, which escapes
    box.hidden = false;
    box.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  async function leaveOut(photo) {
    const answer = await rpc("finetune/without", { session, number: Number(photo.dataset.number) });
    if (!answer || answer.error) return fail(answer?.error || NO_ANSWER);
    photo.setAttribute("aria-pressed", photo.getAttribute("aria-pressed") !== "true");
    photosChanged = true;
  }
  function closePhotos() {
    $(".class-photos").hidden = true;
    if (!photosChanged) return;
    [photosChanged, wantData, unfinished, changed] = [false, true, null, true];
    nameStart();
    poll();
  }

  // The result

  const cameraOff = hearTester($(".result"), () => session);
  // The runs: one is on show, and its buttons are the result's.
  const runOf = (target) => target.closest("[data-run]")?.dataset.run;
  async function ofRun(name, asked) {
    const answer = await rpc(`finetune/${name}`, { session, ...asked });
    if (!answer || answer.error) fail(answer?.error || NO_ANSWER);
    return answer && !answer.error ? answer : null;
  }
  $(".runs").addEventListener("change", async (event) => {
    if (!event.target.classList.contains("run-title")) return;
    const own = await ofRun("title", { run: runOf(event.target), title: event.target.value });
    const [selected, precision] = (document.documentElement.dataset.model || "").split("@");
    if (own?.name === selected) trigger("select", { name: precision ? `${selected}@${precision}` : selected, title: own.title });
    event.target.blur();
    poll();
  });
  $(".runs").addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    const run = runOf(event.target);
    if (!button) return;
    fail("");
    if (button.classList.contains("run-against")) {
      const answer = await rpc("finetune/against", { session, run, other: runOf($(".run-row.shown")) });
      $(".run-said").textContent = answer?.text || answer?.error || NO_ANSWER;
      return;
    }
    if (button.classList.contains("run-remove")) await ofRun("remove", { run });
    else if (await ofRun("show", { run })) {
      if (button.classList.contains("run-use")) await use();
      if (button.classList.contains("run-take")) await download();
    }
    poll();
  });

  async function use() {
    const answer = await rpc("finetune/use", { session });
    if (!answer?.name) return fail(answer?.error || NO_ANSWER);
    trigger("select", answer);
    $(".used").textContent = "Loading it …";
    for (let waited = 0; document.documentElement.dataset.model !== answer.name; waited += 100) {
      if (waited > USE_PATIENCE) {
        $(".used").textContent = "";
        return fail(NO_ANSWER);
      }
      await pause(100);
    }
    $(".used").textContent = "Every tab now uses this model. It is the first in the model list.";
  }

  async function download() {
    const answer = await rpc("finetune/download", { session });
    if (!answer?.path) return fail(answer?.error || "The download failed: try again.");
    save(answer.path);
  }

  $(".result").addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.classList.contains("use")) use();
    else if (button.classList.contains("take")) download();
    else if (button.classList.contains("looks")) {
      button.disabled = true;
      const answer = await rpc("finetune/looks", { session });
      button.disabled = false;
      if (answer?.html) $(".looked").innerHTML = answer.html; // from our own template, which escapes
      else fail(answer?.error || NO_ANSWER);
    } else if (button.dataset.label !== undefined) {
      const answer = await rpc("finetune/cell", { session, label: button.dataset.label, taken: button.dataset.taken });
      if (answer?.html) $(".cell").innerHTML = answer.html; // from our own template, which escapes
    }
  });

  document.addEventListener(KEY, (event) => element.isConnected && show(/** @type {CustomEvent} */ (event).detail)); // photos sent from Embeddings

  const kept = sessionStorage.getItem(KEY);
  if (kept) show(kept);

  hearFiles(element, give);
}
