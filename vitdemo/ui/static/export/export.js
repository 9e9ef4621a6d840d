// Exporting: what is selected, the photos to compare on, Export, how far it is, the result. Words of visitors become HTML by our templates
// alone, which escape them.
import { fill, finders, list, make, openTab, say } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { follow, GONE, known, NO_ANSWER, rpc, save } from "../lib/rpc.js";
import { hearFiles, Uploads } from "../lib/upload.js";

const KEY = "vitdemo-export";
const STEPS = { model: "Load the model", ask: "Running the original", write: "Write the file", load: "Load it back", quantise: "Quantise", compare: "Compare", time: "Time", pack: "Finish" };
const megabytes = (bytes) => (bytes < 1e6 ? "under 1 MB" : `about ${Math.round(bytes / 1e6).toLocaleString("en")} MB`);

export default function mount({ element, props, trigger, watch }) {
  const { $, $$ } = finders(element);
  let id = null; // of the export
  let model = null; // what the server says of the header's model
  let given = {}; // photos to compare on, and to calibrate on
  let events = [];
  let state = ""; // of the work
  const uploads = new Uploads(props.value.limits);
  let uploading = null;
  let polling = 0;

  const working = () => ["starting", "waiting", "running"].includes(state);
  const chosen = (name) => $(`[name=exp-${name}]:checked`).value;
  const ticked = (name) => [...element.querySelectorAll(`[name=exp-${name}]:checked`)].filter((each) => !each.closest("[hidden]")).map((each) => each.value);
  function fail(text) {
    say($(".exp-error"), text);
    if (text) $(".exp-error").scrollIntoView({ block: "nearest" });
  }

  // Choosing

  function plan() {
    return { format: chosen("format"), precision: chosen("precision"), prefer: chosen("prefer"), baked: ticked("baked").length > 0, extras: ticked("extras"), kits: ticked("kits") };
  }

  function show() {
    const format = chosen("format");
    const int8 = $("[name=exp-precision][value=int8]");
    int8.disabled = format !== "onnx";
    if (int8.disabled && int8.checked) $("[name=exp-precision][value=fp32]").checked = true;
    const precision = $("[name=exp-precision]:checked");
    $(".exp-prefer").hidden = $(".exp-calibration").hidden = precision.value !== "int8";
    $(".exp-graph").hidden = format === "safetensors";
    for (const each of element.querySelectorAll(".exp-kits [data-format]")) each.hidden = each.dataset.format !== format;
    $(".exp-kits").hidden = !$(`.exp-kits [data-format="${format}"]`);
    $(".exp-bare").hidden = format !== "safetensors";
    for (const each of element.querySelectorAll("[name=exp-precision]")) {
      each.closest("label").querySelector(".exp-size").textContent = model?.parameters ? megabytes(model.parameters * each.dataset.bytes) : "";
    }
    $(".exp-title").textContent = model?.title || model?.text || model?.error || "The model selected at the top of the page";
    $(".exp-about").textContent = model?.about || "";
    $(".start").disabled = !model?.parameters || working() || Boolean(uploading);
    $(".exp-expected").textContent = expected(precision);
    $(".exp-compared").textContent = compared();
    $(".exp-calibrated").textContent = calibrated();
    for (const each of $$(".notes")) list(each, given[each.dataset.kind]?.notes);
    $(".exp-strange").hidden = Boolean(given.photos || (precision.value === "int8" && given.calibration)) || !model?.parameters || model.drawings;
    $(".exp-strange-int8").hidden = precision.value !== "int8";
    for (const each of element.querySelectorAll(".take-back")) each.hidden = !given[each.dataset.kind] || working();
    for (const each of element.querySelectorAll(".exp-plan input:not([value=int8]), .pick")) each.disabled = working();
    if (working()) int8.disabled = true;
  }

  function expected(precision) {
    if (model?.error) return "Select another model.";
    if (!model?.parameters) return "Waiting for the model …";
    const replaced = state === "done" ? " It replaces the bundle below." : "";
    return `The model's file will have ${megabytes(model.parameters * precision.dataset.bytes)}.${replaced}`;
  }

  function compared() {
    if (!given.photos) return given.calibration && chosen("precision") === "int8" ? "It is compared on what calibration leaves of your photos." : "It is compared on the 126 sample drawings that come with the app.";
    const { photos, used, folders } = given.photos;
    const which = used < photos ? `${used.toLocaleString("en")} of your ${count(photos, "photo")}` : `your ${count(photos, "photo")}`;
    return `It is compared on ${which}${folders > 1 ? `, in ${folders} folders` : ""}.`;
  }

  function calibrated() {
    if (!given.calibration) return "No photos to calibrate on: recipes with fixed scales (static) are left out. Thirty are enough.";
    return `Static recipes find their scales on some of ${count(given.calibration.photos, "photo")}; those are not compared on.`;
  }

  element.addEventListener("change", (event) => event.target.name?.startsWith("exp-") && show());

  // Giving photos

  async function give(named, input) {
    const kind = input?.classList.contains("calibration") ? "calibration" : "photos";
    fail("");
    if (working()) return fail("An export is at work: wait for it, or stop it first.");
    const { files, others } = await uploads.sort(named);
    if (!files.length) return fail("There are no photos in what you gave: give photos, a folder or a zip that holds some.");
    const refused = uploads.refusal(files);
    if (refused) return fail(refused);
    uploading?.abort();
    say($(`.left-out[data-kind=${kind}]`), uploads.leftOut(files));
    const mine = (uploading = new AbortController());
    const told = (text) => ([$(".exp-sending").hidden, $(".exp-sending").textContent] = [!text, text]);
    show();
    try {
      const sent = await uploads.send(files, mine.signal, told);
      told("Looking at the photos …");
      const answer = await rpc("export/add", { session: id || "", kind, files: sent, others });
      if (uploading !== mine) return; // other photos are on their way instead
      if (answer?.session) [given] = [answer.given, keep(answer.session)];
      else fail(answer?.error || NO_ANSWER);
    } catch (error) {
      if (uploading === mine) fail(`The upload failed: ${error.message} Check the connection and give the photos again.`);
    }
    if (uploading !== mine) return;
    uploading = null;
    told("");
    show();
  }

  element.addEventListener("click", async (event) => {
    const kind = event.target.closest(".take-back")?.dataset.kind;
    if (!kind) return;
    const answer = await rpc("export/remove", { session: id, kind });
    if (answer?.given) {
      given = answer.given;
      say($(`.left-out[data-kind=${kind}]`), "");
    }
    fail(answer?.given ? "" : answer?.error || NO_ANSWER);
    show();
  });

  // The work

  function keep(name) {
    id = name;
    sessionStorage.setItem(KEY, name);
  }

  $(".start").addEventListener("click", async () => {
    fail("");
    state = "starting";
    events = [];
    $(".exp-result").hidden = true;
    tell({ state });
    show();
    $(".exp-work").scrollIntoView({ block: "nearest" });
    const answer = await rpc("export/start", { session: id || "", plan: plan(), model: await known("model") });
    if (answer?.session) {
      keep(answer.session);
      return poll();
    }
    [state, $(".exp-work").hidden] = ["", true];
    fail(answer?.error || NO_ANSWER);
    show();
  });
  $(".stop").addEventListener("click", () => {
    $(".stop").disabled = true;
    rpc("export/stop", { session: id });
  });

  function heard() {
    model = props.value?.model || model;
    show();
  }

  function poll() {
    const mine = ++polling;
    const hear = (answer) => {
      if (answer.error && answer.state === undefined) {
        // it is not there any more
        sessionStorage.removeItem(KEY);
        [id, state, given] = [null, "", {}];
        $(".exp-work").hidden = $(".exp-result").hidden = true;
        fail(answer.error);
        show();
        return null;
      }
      const first = !state;
      [given, state] = [answer.given, answer.state];
      events.push(...answer.events);
      if (first && answer.plan) choose(answer.plan); // the page was reloaded
      tell(answer);
      show();
      return working() ? 300 : null;
    };
    follow("export/poll", () => ({ session: id, start: events.length }), () => mine === polling, hear, () => fail(GONE));
  }

  function choose(asked) {
    for (const name of ["format", "precision", "prefer"]) $(`[name=exp-${name}][value=${asked[name]}]`).checked = true;
    $("[name=exp-baked]").checked = asked.baked;
    for (const name of ["extras", "kits"]) {
      for (const each of element.querySelectorAll(`[name=exp-${name}]`)) each.checked = asked[name].includes(each.value);
    }
    $(".exp-more").open = asked.baked || asked.extras.length + asked.kits.length > 0;
  }

  function tell(answer) {
    const last = events.filter((each) => each.kind === "step").at(-1); // an error comes before the state says so
    $(".exp-work").hidden = !answer.state || answer.state === "done";
    $(".exp-work").classList.toggle("over", !working());
    $(".stop").hidden = !working();
    if (state === "starting") $(".stop").disabled = false;
    $(".exp-work-text").textContent = said(answer, last);
    const share = last?.total ? last.done / last.total : 0;
    const bar = $(".exp-work .bar");
    fill(bar, share);
    steps(last);
    if (answer.state === "failed") fail(answer.error);
    $(".exp-result").hidden = !answer.report;
    if (answer.report) $(".exp-result").innerHTML = answer.report; // from our own template, which escapes
  }

  function said(answer, last) {
    if (answer.state === "starting") return "Starting …";
    if (answer.state === "waiting") return answer.place > 1 ? `Waiting: ${answer.place} jobs are ahead of this one …` : "Waiting for another long job …";
    if (answer.state === "stopped") return "Stopped. Nothing was kept.";
    if (answer.state === "failed") return "Ended before it was done. Nothing was kept.";
    if (!last) return "Getting ready …";
    return `${last.phase}${last.total ? `: ${last.done} of ${last.total}` : " …"}`;
  }

  function steps(last) {
    const int8 = chosen("precision") === "int8";
    const names = Object.keys(STEPS).filter((name) => name !== (int8 ? "load" : "quantise"));
    const here = state === "done" ? names.length : last ? names.indexOf(last.stage) : -1;
    $(".exp-steps").replaceChildren(
      ...names.map((name, index) => {
        const item = make("li", index < here ? "past" : index === here ? "here" : "", STEPS[name]);
        if (index === here) item.setAttribute("aria-current", "step");
        return item;
      })
    );
  }

  // The result

  async function compare() {
    const answer = await rpc("export/compare", { session: id });
    if (!answer?.tried) return fail(answer?.error || NO_ANSWER);
    trigger("select", { tried: answer.tried });
    for (const name of ["Classify", "One photo"]) openTab(name);
    window.scrollTo({ top: 0 });
  }

  $(".exp-result").addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    fail("");
    if (button.classList.contains("try")) return compare();
    if (!button.matches(".whole, [data-file]")) return;
    button.disabled = true;
    const answer = await rpc("export/download", { session: id, file: button.dataset.file ?? null });
    button.disabled = false;
    answer?.path ? save(answer.path) : fail(answer?.error || "The download failed: try again.");
  });

  hearFiles(element, give);
  watch("value", heard);
  heard();
  const kept = sessionStorage.getItem(KEY);
  if (kept) {
    id = kept;
    poll();
  }
}
