// Fine-tuning: sends photos, shows their classes, starts, follows and draws. Words of visitors become HTML by our templates alone, which
// escape them.
import { fill, finders, make, say, tabsOf } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { follow, GONE, NO_ANSWER, rpc } from "../lib/rpc.js";
import { hearFiles, Uploads } from "../lib/upload.js";
import { curves } from "./curves.js";
import { hearData } from "./data.js";
import { said } from "./progress.js";
import { hearResult } from "./result.js";
import { hearSettings } from "./settings.js";
import { hearTester } from "./tester.js";

const KEY = "vitdemo-finetune";
const AT_WORK = "Training is running on these photos: stop it first, or wait until it is done.";

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
        if (answer.asked && settings.restore(answer.asked)) started = settings.key();
        $(".plan").hidden = Boolean($(".data .warning"));
        mark("train", "", $(".plan").hidden && !answer.job);
        mark("data", $(".data-head h2")?.textContent ?? "");
        settings.foretell();
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

  // Starting. Only the same settings, photos and classes resume a run that was stopped.

  let [started, unfinished, changed] = [null, null, false];
  function nameStart() {
    $(".start").textContent = unfinished === null ? "Start training" : unfinished === settings.key() ? "Resume" : "Start over";
  }
  const settings = hearSettings(element, () => session, nameStart);
  hearData($(".data"), () => session, fail, () => {
    [wantData, unfinished, changed] = [true, null, true];
    nameStart();
    poll();
  });

  $(".start").addEventListener("click", async () => {
    fail("");
    $(".start").disabled = true;
    [started, changed] = [settings.key(), false];
    const answer = await rpc("finetune/start", await settings.asked());
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

  hearResult($(".result"), $(".runs"), () => session, fail, poll, (model) => trigger("select", model));
  const cameraOff = hearTester($(".result"), () => session);

  document.addEventListener(KEY, (event) => element.isConnected && show(/** @type {CustomEvent} */ (event).detail)); // photos sent from Embeddings

  const kept = sessionStorage.getItem(KEY);
  if (kept) show(kept);

  hearFiles(element, give);
}
