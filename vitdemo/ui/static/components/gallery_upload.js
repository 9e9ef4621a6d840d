// Giving many photos: follows their run, once upload.js has sent them. Nothing a visitor named becomes HTML here.
//
// The script after this one brings KEY, under which the browser remembers the gallery; show(id), which forgets what was on show and takes up a
// gallery; asked(), what else to ask for progress; heard(answer), which answers the milliseconds until the next look, or null when it is
// over; and at its end, resumed().

const tab = props.value.tab; // whose routes are asked
let run = null; // the gallery on show
let uploading = null;
let asking = false; // photos are on their way to the server: the gallery on show goes on in silence
let told = null; // how far it is, as last heard
let starting = 0; // number of the newest start

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
  try {
    await start(await send(files, mine.signal, progress));
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
  start("examples");
});

async function start(files) {
  const mine = ++starting;
  asking = true;
  progress("Starting …", 1, false);
  const answer = await rpc(`${tab}/start`, { files, model: await known("model") });
  if (mine !== starting) return; // other photos were given meanwhile
  if (answer?.gallery) return show(answer.gallery);
  resume();
  fail(answer?.error || "The server does not answer: check the connection and give the photos again.");
}

// Following the run

function forget() {
  sessionStorage.removeItem(KEY);
  run = told = null;
  if (!asking) $(".run").hidden = true;
}

function poll(id) {
  sessionStorage.setItem(KEY, id);
  const hear = (answer) => {
    if (answer.error && !answer.state) {
      const shown = told;
      forget();
      fail(shown ? answer.error : "");
      return null;
    }
    told = answer;
    if (!asking) tell(answer);
    return heard(answer);
  };
  follow(`${tab}/poll`, () => ({ gallery: run, ...asked() }), () => run === id, hear, () => fail(GONE));
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
  else if (run) rpc(`${tab}/stop`, { gallery: run });
  $(".stop").hidden = true;
});

function resumed() {
  const kept = sessionStorage.getItem(KEY);
  if (kept) show(kept);
}
