// Giving many photos: follows their run, once upload.js has sent them. Nothing a visitor named becomes HTML here.
//
// The script after this one brings KEY, under which the browser remembers the run; follow(id), which forgets what was on show and takes up a
// run; asked(), what else to ask for progress; heard(answer), which answers the milliseconds until the next look, or null when it is over;
// and at its end, resumed().

const PATIENCE = 45_000; // milliseconds for the server to take up what was sent

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

async function give(named) {
  const files = named.filter(([name]) => !name.includes("/") || isPhoto(name) || isZip(name));
  fail("");
  if (!files.length) return fail("There are no photos in what you gave: give photos, a folder or a zip that holds some.");
  const why = refusal(files);
  if (why) return fail(why);
  fail(leftOut(files));
  uploading?.abort();
  uploading = new AbortController();
  asking = true;
  const mine = uploading;
  const number = ++waitingFor;
  try {
    const sent = await send(files, mine.signal, progress);
    progress("Starting …", 1, false);
    trigger("upload", { files: sent, request: number });
    setTimeout(() => {
      if (!asking || waitingFor !== number) return;
      resume();
      fail("The server does not answer: check the connection and give the photos again.");
    }, PATIENCE);
  } catch (error) {
    if (uploading !== mine) return; // other photos are on their way instead
    resume();
    if (!mine.signal.aborted) fail(`The upload failed: ${error.message}`);
  } finally {
    if (uploading === mine) uploading = null;
  }
}

$(".examples-gallery").addEventListener("click", () => {
  fail("");
  uploading?.abort();
  uploading = null;
  asking = true;
  progress("Starting …", null, false);
  trigger("upload", { files: "examples", request: ++waitingFor });
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
