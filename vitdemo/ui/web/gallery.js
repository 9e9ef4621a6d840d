// Many photos: uploads them with their folders' names, follows the run, and draws the table. Nothing a visitor named becomes HTML here.
const $ = (selector) => element.querySelector(selector);
const limits = props.value.limits;
const PAGE = 100;
const KEY = "vitdemo-gallery";
const api = (window.gradio_config?.root || "") + (window.gradio_config?.api_prefix || "/gradio_api");

let run = null; // the gallery on show
let rows = [];
let lines = []; // each row's <tr>, made once: a row in place is never taken out and put back
let state = "";
let sort = { by: "", down: false };
let chip = "all";
let pair = null; // a cell of the confusion matrix
let shown = PAGE;
let open = -1; // the row whose photo is open
let uploading = null;
let asking = false; // photos are on their way to the server: the gallery on show goes on in silence
let told = null; // how far it is, as last heard
let pressed = false; // a new table between press and release would take the button from under the pointer
let late = false; // a table waits for the release
let waitingFor = 0; // number of the request whose answer counts

const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

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
        "or run “python -m vitdemo classify FOLDER” on the command line, which has no limit."
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

function follow(id) {
  run = id;
  sessionStorage.setItem(KEY, id);
  rows = [];
  lines = [];
  [chip, pair, shown, open, state, asking, told] = ["all", null, PAGE, -1, "", false, null];
  sort = { by: "", down: false };
  $(".search").value = "";
  $(".scores").hidden = true;
  draw();
  poll(id);
}

async function poll(id) {
  let fails = 0;
  while (run === id) {
    const answer = await server.poll({ run: id, start: rows.length }).catch(() => null);
    if (run !== id) return;
    if (!answer) {
      if (++fails > 20) return fail("The server does not answer: reload the page when it is back.");
      await new Promise((done) => setTimeout(done, 1000));
      continue;
    }
    fails = 0;
    if (answer.error && !answer.state) {
      sessionStorage.removeItem(KEY);
      run = told = null;
      if (!asking) $(".run").hidden = true;
      return fail(rows.length ? answer.error : "");
    }
    rows.push(...answer.rows);
    state = answer.state;
    told = answer;
    if (!asking) tell(answer);
    if (answer.rows.length || !["waiting", "loading", "running"].includes(state)) draw();
    if (["done", "stopped", "failed"].includes(state)) {
      $(".scores").hidden = !answer.scores;
      $(".scores").innerHTML = answer.scores || ""; // from our own template, which escapes
      return;
    }
    if (answer.rows.length < 400) await new Promise((done) => setTimeout(done, 400));
  }
}

function tell(answer) {
  const count = `${answer.done.toLocaleString("en")} of ${answer.total.toLocaleString("en")} photos`;
  const share = answer.total ? answer.done / answer.total : 1;
  const wrong = rows.filter((row) => row.error).length;
  const errors = wrong ? `, ${wrong} of them can't be read` : "";
  const speed = answer.speed ? ` · ${answer.speed.toFixed(1)} photos a second` : "";
  if (answer.state === "failed") {
    fail(answer.text);
    rows.length ? progress(`Ended after ${count}.`, share, false) : ($(".run").hidden = true);
  } else if (answer.state === "done") progress(`Done: ${count}${errors} · ${answer.model}${speed}`, 1, false);
  else if (answer.state === "stopped") progress(`Stopped after ${count}${errors}. What is done stays. · ${answer.model}`, share, false);
  else if (answer.state === "running") {
    const left = answer.speed ? Math.round((answer.total - answer.done) / answer.speed) : null;
    const time = left === null ? "" : ` · ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
    progress(`${count} · ${answer.model}${speed}${time}`, share);
  } else progress(answer.text, 0);
}

$(".stop").addEventListener("click", () => {
  if (uploading) uploading.abort();
  else if (run) server.stop({ run });
  $(".stop").hidden = true;
});

// The table

const CHIPS = {
  all: ["All", () => true],
  wrong: ["Wrong", (row) => row.right === false],
  error: ["Can't be read", (row) => row.error],
  duplicate: ["Duplicates", (row) => row.duplicate],
  unfamiliar: ["Unfamiliar", (row) => row.unfamiliar],
};

function chosen() {
  const words = $(".search").value.trim().toLowerCase();
  const numbered = rows.map((row, index) => ({ row, index }));
  const kept = numbered.filter(
    ({ row }) =>
      CHIPS[chip][1](row) &&
      (!pair || (row.folder === pair.folder && !row.error && pair.classes.includes(row.index) !== ("other" in pair))) &&
      (!words || `${row.path} ${row.label || ""} ${row.error || ""}`.toLowerCase().includes(words))
  );
  if (!sort.by) return kept;
  const value = ({ row }) => row[sort.by] ?? (sort.by === "probability" ? -1 : "");
  const compare = (a, b) => (sort.by === "probability" ? value(a) - value(b) : value(a).localeCompare(value(b), "en", { numeric: true }));
  return kept.sort((a, b) => (sort.down ? compare(b, a) : compare(a, b)));
}

function draw() {
  if (pressed) return (late = true);
  late = false;
  $(".results").hidden = !rows.length;
  if (!rows.length) return;
  const counts = Object.entries(CHIPS).map(([name, [title, test]]) => [name, title, rows.filter(test).length]);
  const focusedChip = document.activeElement?.closest("#gallery .chip")?.dataset.chip;
  $(".chips").replaceChildren(
    ...counts
      .filter(([name, , count]) => name === "all" || count)
      .map(([name, title, count]) => {
        const button = make("button", "chip", `${title} ${count.toLocaleString("en")}`);
        button.type = "button";
        button.dataset.chip = name;
        button.setAttribute("aria-pressed", name === chip && !pair);
        return button;
      })
  );
  if (pair) {
    const button = make("button", "chip", `${pair.folder} → ${pair.taken} ×`);
    button.type = "button";
    button.dataset.chip = "all";
    button.setAttribute("aria-pressed", true);
    $(".chips").append(button);
  }
  if (focusedChip) ($(`[data-chip=${focusedChip}]`) || $("[data-chip=all]")).focus();
  const found = chosen();
  const detail = element.querySelector("tr.detail");
  const wanted = found.slice(0, shown).flatMap(({ row, index }) => {
    lines[index] ??= line({ row, index });
    lines[index].querySelector(".open").ariaExpanded &&= index === open;
    return detail && index === open ? [lines[index], detail] : [lines[index]];
  });
  place($(".rows tbody"), wanted);
  $(".shown").textContent = found.length ? `${Math.min(shown, found.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} shown` : "No photo fits this filter.";
  $(".more").hidden = found.length <= shown;
  for (const head of element.querySelectorAll("th[data-sort]")) {
    head.setAttribute("aria-sort", head.dataset.sort !== sort.by ? "none" : sort.down ? "descending" : "ascending");
  }
}

function place(body, wanted) {
  const kept = new Set(wanted);
  for (const each of [...body.children]) kept.has(each) || each.remove();
  let here = body.firstElementChild;
  for (const each of wanted) {
    if (each === here) here = here.nextElementSibling;
    else body.insertBefore(each, here);
  }
}

function line({ row, index }) {
  const tr = make("tr", row.error ? "bad" : "");
  tr.dataset.index = index;
  const thumb = make("td", "thumb");
  if (row.thumbnail) thumb.append(Object.assign(new Image(48, 48), { src: `data:image/jpeg;base64,${row.thumbnail}`, alt: "" }));
  const name = make("td", "name");
  const parts = row.path.split("/");
  const title = make(row.error ? "span" : "button", "open", parts.pop());
  if (!row.error) title.type = "button";
  title.title = row.path;
  if (!row.error) title.setAttribute("aria-expanded", index === open);
  name.append(title);
  if (parts.length) name.append(make("span", "folder", parts.slice(-2).join("/")));
  if (row.duplicate) name.append(make("span", "badge", "duplicate"));
  if (row.unfamiliar) name.append(Object.assign(make("span", "badge warn", "unfamiliar"), { title: "Unlike anything the model was trained on" }));
  tr.append(thumb, name);
  if (row.error) {
    tr.append(Object.assign(make("td", "reason", row.error), { colSpan: 2 }));
    return tr;
  }
  const guess = make("td", "guess");
  guess.append(make("span", "", row.label));
  if (row.right !== null) guess.append(make("span", row.right ? "mark right" : "mark wrong", row.right ? "right" : "wrong"));
  const sure = make("td", "sure");
  const bar = make("div", "bar");
  const fill = make("div");
  fill.style.width = `${100 * row.probability}%`;
  bar.append(fill);
  sure.append(make("span", "number", row.percent), bar);
  tr.append(guess, sure);
  return tr;
}

async function show(index) {
  const button = () => element.querySelector(`tr[data-index="${index}"] .open`);
  element.querySelector("tr.detail")?.remove();
  element.querySelectorAll(".open[aria-expanded=true]").forEach((each) => each.setAttribute("aria-expanded", false));
  if (open === index) {
    open = -1;
    return;
  }
  open = index;
  button()?.setAttribute("aria-expanded", true);
  const answer = await server.detail({ run, index });
  if (open !== index || !button()) return;
  const cell = Object.assign(make("td"), { colSpan: 4 });
  const box = make("div", "detail-box");
  if (answer?.html) box.innerHTML = answer.html; // from our own templates, which escape
  else box.append(make("p", "warning", answer?.error || "The photo could not be fetched: try again."));
  cell.append(box);
  const tr = make("tr", "detail");
  tr.append(cell);
  button().closest("tr").after(tr);
}

$(".results").addEventListener("pointerdown", () => (pressed = true));
for (const kind of ["pointerup", "pointercancel"]) {
  window.addEventListener(kind, () => {
    pressed = false;
    setTimeout(() => late && draw(), 0); // after the click
  });
}
$(".rows").addEventListener("click", (event) => {
  const head = event.target.closest("th[data-sort]");
  if (head) {
    const by = head.dataset.sort;
    sort = { by, down: sort.by === by ? !sort.down : by === "probability" };
    open = -1;
    return draw();
  }
  const row = event.target.closest("tr[data-index]");
  if (row?.querySelector("button.open")) show(Number(row.dataset.index));
});
$(".chips").addEventListener("click", (event) => {
  const button = event.target.closest("[data-chip]");
  if (!button) return;
  [chip, pair, shown, open] = [button.dataset.chip, null, PAGE, -1];
  draw();
});
$(".scores").addEventListener("click", (event) => {
  const button = event.target.closest("[data-folder]");
  if (!button) return;
  [chip, pair, shown, open] = ["all", { ...button.dataset, classes: button.dataset.classes.split(" ").map(Number) }, PAGE, -1];
  draw();
  $(".tools").scrollIntoView({ behavior: "smooth", block: "start" });
});
$(".search").addEventListener("input", () => {
  [shown, open] = [PAGE, -1];
  draw();
});
$(".more").addEventListener("click", () => {
  shown += PAGE;
  draw();
});
$(".downloads").addEventListener("click", async (event) => {
  const kind = event.target.closest("[data-kind]")?.dataset.kind;
  if (!kind) return;
  const answer = await server.download({ run, kind });
  if (!answer?.path) return fail(answer?.error || "The download failed: try again.");
  Object.assign(document.createElement("a"), { href: `${api}/file=${answer.path}`, download: `predictions.${kind}` }).click();
});

const kept = sessionStorage.getItem(KEY);
if (kept) follow(kept);
