// Giving many photos: uploads them with their folders' names and follows the run. Nothing a visitor named becomes HTML here.
//
// The script after this one brings KEY, under which the browser remembers the run; follow(id), which forgets what was on show and takes up a
// run; asked(), what else to ask for progress; heard(answer), which answers the milliseconds until the next look, or null when it is over;
// and at its end, resumed().
const $ = (selector) => element.querySelector(selector);
const limits = props.value.limits;
const api = (window.gradio_config?.root || "") + (window.gradio_config?.api_prefix || "/gradio_api");
const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

let run = null; // the gallery on show
let uploading = null;
let asking = false; // photos are on their way to the server: the gallery on show goes on in silence
let told = null; // how far it is, as last heard
let waitingFor = 0; // number of the request whose answer counts

function fail(text) {
  $(".gallery-error").hidden = !text;
  $(".gallery-error").textContent = text || "";
}

function progress(text, share = null, stoppable = true) {
  $(".run").hidden = false;
  $(".run-text").setAttribute("aria-live", stoppable ? "off" : "polite"); // not every step aloud: the end is
  $(".run-text").textContent = text;
  const bar = $(".run .bar");
  bar.style.visibility = share === null ? "hidden" : "visible";
  bar.setAttribute("aria-valuenow", Math.round(100 * (share || 0)));
  bar.firstElementChild.style.width = `${100 * (share || 0)}%`;
  $(".stop").hidden = !stoppable;
}

function resume() {
  asking = false;
  if (told) tell(told);
  else $(".run").hidden = true;
}

// Giving photos

async function filesBelow(entry, path = "") {
  if (entry.isFile) return [[path + entry.name, await new Promise((done, no) => entry.file(done, no))]];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((done, no) => reader.readEntries(done, no)); // a hundred at a time
    if (!part.length) return found;
    for (const each of part) found.push(...(await filesBelow(each, `${path}${entry.name}/`)));
  }
}

const isPhoto = (name) => !/(^|\/)(\.|__MACOSX)/.test(name) && limits.suffixes.some((each) => name.toLowerCase().endsWith(each));

async function give(named) {
  const files = named.filter(([name]) => !name.includes("/") || isPhoto(name) || name.toLowerCase().endsWith(".zip"));
  const most = (file) => (file.name.toLowerCase().endsWith(".zip") ? limits.zipMb : limits.mb);
  const large = files.find(([, file]) => file.size > most(file) * 1024 * 1024);
  fail("");
  if (!files.length) return fail("There are no photos in what you gave: give photos, a folder or a zip that holds some.");
  if (files.length > limits.photos) {
    return fail(
      `These are ${files.length.toLocaleString("en")} photos, and the limit here is ${limits.photos.toLocaleString("en")}: choose fewer, ` +
        `or run “python -m vitdemo ${limits.command} FOLDER” on the command line, which has no limit.`
    );
  }
  if (large) return fail(`“${large[0]}” is larger than ${most(large[1])} MB: leave it out, or save a smaller copy of it.`);
  uploading?.abort();
  uploading = new AbortController();
  asking = true;
  const mine = uploading;
  const number = ++waitingFor;
  const sent = [];
  try {
    while (sent.length < files.length) {
      progress(`Uploading: ${sent.length} of ${files.length} files`, sent.length / files.length);
      const form = new FormData();
      const part = [];
      let bytes = 0;
      while (sent.length + part.length < files.length && part.length < 50 && bytes < 16e6) {
        const each = files[sent.length + part.length];
        form.append("files", each[1]);
        part.push(each);
        bytes += each[1].size;
      }
      const answer = await fetch(`${api}/upload`, { method: "POST", body: form, signal: mine.signal });
      if (!answer.ok) throw new Error(answer.status === 413 ? "A file is too large for this server." : `The server answered ${answer.status}.`);
      (await answer.json()).forEach((path, index) => sent.push([part[index][0], path]));
    }
    progress("Starting …", 1, false);
    trigger("upload", { files: sent, request: number });
  } catch (error) {
    if (uploading !== mine) return; // other photos are on their way instead
    resume();
    if (!mine.signal.aborted) fail(`The upload failed: ${error.message} Check the connection and give the photos again.`);
  } finally {
    if (uploading === mine) uploading = null;
  }
}

for (const input of element.querySelectorAll(".pick")) {
  input.addEventListener("change", () => {
    const files = [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
    input.value = "";
    if (files.length) give(files);
  });
}
$(".examples-gallery").addEventListener("click", () => {
  fail("");
  uploading?.abort();
  uploading = null;
  asking = true;
  progress("Starting …", null, false);
  trigger("upload", { files: "examples", request: ++waitingFor });
});
const drop = $(".drop");
for (const kind of ["dragover", "dragenter"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) found.push(...(await filesBelow(entry)));
  if (found.length) give(found);
});

// Following the run

watch("value", () => {
  const value = props.value || {};
  if (value.request !== waitingFor) return;
  if (value.error) {
    resume();
    return fail(value.error);
  }
  if (value.run) follow(value.run);
});

function forget() {
  sessionStorage.removeItem(KEY);
  run = told = null;
  if (!asking) $(".run").hidden = true;
}

async function poll(id) {
  sessionStorage.setItem(KEY, id);
  let fails = 0;
  while (run === id) {
    const answer = await server.poll({ run: id, ...asked() }).catch(() => null);
    if (run !== id) return;
    if (!answer) {
      if (++fails > 20) return fail("The server does not answer: reload the page when it is back.");
      await new Promise((done) => setTimeout(done, 1000));
      continue;
    }
    fails = 0;
    if (answer.error && !answer.state) {
      const shown = told;
      forget();
      return fail(shown ? answer.error : "");
    }
    told = answer;
    if (!asking) tell(answer);
    const pause = heard(answer);
    if (pause === null) return;
    if (pause) await new Promise((done) => setTimeout(done, pause));
  }
}

function timeLeft(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} left`;
}

function tell(answer) {
  const count = `${answer.done.toLocaleString("en")} of ${answer.total.toLocaleString("en")} photos`;
  const share = answer.total ? answer.done / answer.total : 1;
  const errors = answer.wrong ? `, ${answer.wrong} of them can't be read` : "";
  const speed = answer.speed ? ` · ${answer.speed.toFixed(1)} photos a second` : "";
  if (answer.state === "failed") {
    fail(answer.text);
    answer.done ? progress(`Ended after ${count}.`, share, false) : ($(".run").hidden = true);
  } else if (answer.state === "done") progress(`Done: ${count}${errors} · ${answer.model}${speed}`, 1, false);
  else if (answer.state === "stopped") progress(`Stopped after ${count}${errors}. What is done stays. · ${answer.model}`, share, false);
  else if (answer.state === "running") {
    const time = answer.speed ? ` · ${timeLeft((answer.total - answer.done) / answer.speed)}` : "";
    progress(`${count} · ${answer.model}${speed}${time}`, share);
  } else progress(answer.text, answer.share ?? 0);
}

$(".stop").addEventListener("click", () => {
  if (uploading) uploading.abort();
  else if (run) server.stop({ run });
  $(".stop").hidden = true;
});

function resumed() {
  const kept = sessionStorage.getItem(KEY);
  if (!kept) return;
  trigger("select", { run: kept }); // this page's visitor is another one than before
  follow(kept);
}
