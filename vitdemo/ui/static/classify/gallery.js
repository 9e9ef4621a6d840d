// Many photos: draws the table of a gallery as its rows come. Nothing a visitor named becomes HTML here.
import { FINAL, Gallery } from "../components/gallery_upload.js";
import { button, finders, make } from "../lib/dom.js";
import { percent, shownName } from "../lib/format.js";
import { rpc, save } from "../lib/rpc.js";

const PAGE = 100; // rows on show at first
const KEY = "vitdemo-gallery";
/** @type {Record<string, [string, (row: any) => unknown]>} */
const CHIPS = {
  all: ["All", () => true],
  wrong: ["Wrong", (row) => row.right === false],
  conflict: ["Label conflicts", (row) => row.conflict],
  error: ["Can't be read", (row) => row.error],
  duplicate: ["Duplicates", (row) => row.copies?.length > 1],
  unfamiliar: ["Unfamiliar", (row) => row.unfamiliar],
};
const CONFLICT = "Copies of this photo lie in folders of different classes: it counts neither as correct nor as wrong.";

export default function mount({ element, props }) {
  const { $ } = finders(element);

  let rows = [];
  let lines = []; // each row's <tr>, made once: a row in place is never taken out and put back
  let photos = new Map(); // a file's hash → its rows: the original, then its copies
  let state = "";
  let sort = { by: "", down: false };
  let chip = "all";
  let pair = null; // a cell of the confusion matrix
  let shown = PAGE;
  let open = -1; // the row whose photo is open
  let pressed = false; // a new table between press and release would take the button from under the pointer
  let late = false; // a table waits for the release

  const gallery = new Gallery(element, props.value, KEY, {
    show() {
      rows = [];
      lines = [];
      photos = new Map();
      [chip, pair, shown, open, state] = ["all", null, PAGE, -1, ""];
      sort = { by: "", down: false };
      $(".search").value = "";
      $(".scores").hidden = true;
      draw();
    },
    asked: () => ({ start: rows.length }),
    progress(answer) {
      answer.rows.forEach(add);
      state = answer.state;
      const over = FINAL.includes(state);
      for (const number of answer.conflicts) {
        Object.assign(rows[number], { conflict: true, right: null });
        delete lines[number];
      }
      if (answer.rows.length || over) draw();
      if (!over) soFar();
      if (!over) return answer.rows.length < 400 ? 400 : 0;
      $(".scores").hidden = !answer.scores;
      $(".scores").innerHTML = answer.scores || ""; // from our own template, which escapes
      return null;
    },
  });

  function add(row) {
    row.number = rows.push(row) - 1;
    if (!row.id) return;
    if (!photos.has(row.id)) photos.set(row.id, []);
    row.copies = photos.get(row.id);
    if (row.copies.push(row) === 2) delete lines[row.copies[0].number]; // it is the original of a copy from now on
  }

  // The accuracy of the photos that are done, where the scores will stand.
  function soFar() {
    const judged = rows.filter((row) => row.right !== undefined && row.right !== null);
    $(".scores").hidden = !judged.length;
    const share = judged.filter((row) => row.right).length / judged.length;
    if (judged.length) $(".scores").replaceChildren(make("p", "", `${percent(share)} top-1 accuracy so far, by folder name.`));
  }

  // The table

  function chosen() {
    const words = $(".search").value.trim().toLowerCase();
    const together = (row) => (chip === "duplicate" ? row.copies : [row]); // an original and its copies stay side by side
    const said = (row) => `${row.path} ${row.title} ${row.label || ""} ${row.error || ""}`.toLowerCase();
    const kept = rows.filter(
      (row) =>
        CHIPS[chip][1](row) &&
        (!pair || (row.folder === pair.folder && typeof row.right === "boolean" && pair.classes.includes(row.index) !== ("rest" in pair))) &&
        (!words || together(row).some((each) => said(each).includes(words)))
    );
    const value = (row) => together(row)[0][sort.by] ?? (sort.by === "probability" ? -1 : "");
    const compare = (a, b) => (sort.by === "probability" ? value(a) - value(b) : value(a).localeCompare(value(b), "en", { numeric: true }));
    const order = (a, b) => together(a)[0].number - together(b)[0].number || a.number - b.number;
    return kept.sort((a, b) => (sort.by && (sort.down ? compare(b, a) : compare(a, b))) || order(a, b));
  }

  // What the table is filtered by, in words for a file's name.
  function filter() {
    const words = $(".search").value.trim();
    return [pair ? `${pair.from} as ${pair.taken}` : chip === "all" ? "" : CHIPS[chip][0], words].filter(Boolean).join(" ");
  }

  function draw() {
    if (pressed) return (late = true);
    late = false;
    $(".results").hidden = !rows.length;
    if (!rows.length) return;
    const counts = Object.entries(CHIPS).map(([name, [title, test]]) => [name, title, rows.filter(test).length]);
    const focusedChip = /** @type {HTMLElement} */ (document.activeElement?.closest("#gallery .chip"))?.dataset.chip;
    $(".chips").replaceChildren(
      ...counts
        .filter(([name, , count]) => name === "all" || count)
        .map(([name, title, count]) => {
          const made = button("chip", `${title} ${count.toLocaleString("en")}`);
          made.dataset.chip = name;
          made.setAttribute("aria-pressed", name === chip && !pair);
          return made;
        })
    );
    if (pair) {
      const made = button("chip", `${shownName(pair.from)} → ${shownName(pair.taken)} ×`);
      made.dataset.chip = "all";
      made.setAttribute("aria-pressed", true);
      $(".chips").append(made);
    }
    if (focusedChip) ($(`[data-chip=${focusedChip}]`) || $("[data-chip=all]")).focus();
    const found = chosen();
    const detail = element.querySelector("tr.detail");
    const wanted = found.slice(0, shown).flatMap((row) => {
      const tr = (lines[row.number] ??= line(row));
      tr.querySelector(".open").ariaExpanded &&= row.number === open;
      return detail && row.number === open ? [tr, detail] : [tr];
    });
    place($(".rows tbody"), wanted);
    const first = `The first ${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
    $(".shown").textContent = found.length > shown ? first : found.length ? "" : "No photo fits this filter.";
    $(".download-lead").textContent = `Download ${filter() ? "" : "all "}${found.length.toLocaleString("en")}${filter() ? " shown" : ""}`;
    for (const each of element.querySelectorAll("[data-kind]")) each.disabled = !found.length;
    $(".more").hidden = found.length <= shown;
    for (const head of element.querySelectorAll("th[data-sort]")) {
      head.setAttribute("aria-sort", head.dataset.sort !== sort.by ? "none" : sort.down ? "descending" : "ascending");
    }
  }

  function line(row) {
    const tr = make("tr", row.error ? "bad" : "");
    tr.dataset.index = row.number;
    const thumb = make("td", "thumb");
    if (row.thumbnail) thumb.append(Object.assign(new Image(48, 48), { src: `data:image/jpeg;base64,${row.thumbnail}`, alt: "" }));
    const name = make("td", "name");
    const parts = row.path.split("/");
    const title = make(row.error ? "span" : "button", "open", parts.pop());
    if (!row.error) title.type = "button";
    title.title = row.path;
    if (!row.error) title.setAttribute("aria-expanded", row.number === open);
    name.append(title);
    if (parts.at(-1) === row.folder) parts.splice(-1, 1, row.title);
    if (parts.length) name.append(make("span", "folder", parts.slice(-2).join("/")));
    if (row.copies?.length > 1) name.append(make("span", "badge", row.duplicate ? "duplicate" : "original"));
    if (row.conflict) name.append(Object.assign(make("span", "badge warn", "label conflict"), { title: CONFLICT }));
    if (row.unfamiliar) name.append(Object.assign(make("span", "badge warn", "unfamiliar"), { title: "Unlike anything the model was trained on" }));
    tr.append(thumb, name);
    if (row.error) {
      tr.append(Object.assign(make("td", "reason", row.error), { colSpan: 2 }));
      return tr;
    }
    const guess = make("td", "guess");
    guess.append(make("span", "", shownName(row.label)));
    if (row.right !== null) guess.append(make("span", row.right ? "mark right" : "mark wrong", row.right ? "correct" : "wrong"));
    if (row.right === false) guess.append(make("span", "truth", `true class: ${shownName(row.truth)}`));
    const sure = make("td", "sure");
    const bar = make("div", "bar");
    const fill = make("div");
    fill.style.width = `${100 * row.probability}%`;
    bar.append(fill);
    sure.append(make("span", "number", row.percent), bar);
    tr.append(guess, sure);
    return tr;
  }

  async function openRow(index) {
    const opener = () => element.querySelector(`tr[data-index="${index}"] .open`);
    element.querySelector("tr.detail")?.remove();
    element.querySelectorAll(".open[aria-expanded=true]").forEach((each) => each.setAttribute("aria-expanded", false));
    if (open === index) {
      open = -1;
      return;
    }
    open = index;
    opener()?.setAttribute("aria-expanded", true);
    const answer = await rpc("classify/detail", { gallery: gallery.id, index });
    if (open !== index || !opener()) return;
    const cell = Object.assign(make("td"), { colSpan: 4 });
    const box = make("div", "detail-box");
    if (answer?.html) box.innerHTML = answer.html; // from our own templates, which escape
    else box.append(make("p", "warning", answer?.error || "The photo could not be fetched: try again."));
    cell.append(box);
    const tr = make("tr", "detail");
    tr.append(cell);
    opener().closest("tr").after(tr);
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
    if (row?.querySelector("button.open")) openRow(Number(row.dataset.index));
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
    const answer = await rpc("classify/download", { gallery: gallery.id, kind, rows: filter() ? chosen().map((row) => row.number) : null, filter: filter() });
    if (!answer?.path) return gallery.fail(answer?.error || "The download failed: try again.");
    save(answer.path);
  });

  gallery.resume();
}

// Puts these rows into the table, in order, and moves none that is in its place.
function place(body, wanted) {
  const kept = new Set(wanted);
  for (const each of [...body.children]) kept.has(each) || each.remove();
  let here = body.firstElementChild;
  for (const each of wanted) {
    if (each === here) here = here.nextElementSibling;
    else body.insertBefore(each, here);
  }
}
