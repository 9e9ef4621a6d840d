// Many photos: draws the table of a gallery as its rows come. Nothing a visitor named becomes HTML here.
import { Gallery } from "../components/gallery_upload.js";
import { button, finders, make } from "../lib/dom.js";
import { shownName } from "../lib/format.js";
import { rpc, save } from "../lib/rpc.js";

const PAGE = 100; // rows on show at first
const KEY = "vitdemo-gallery";
/** @type {Record<string, [string, (row: any) => unknown]>} */
const CHIPS = {
  all: ["All", () => true],
  wrong: ["Wrong", (row) => row.right === false],
  error: ["Can't be read", (row) => row.error],
  duplicate: ["Duplicates", (row) => row.duplicate],
  unfamiliar: ["Unfamiliar", (row) => row.unfamiliar],
};

export default function mount({ element, props }) {
  const { $ } = finders(element);

  let rows = [];
  let lines = []; // each row's <tr>, made once: a row in place is never taken out and put back
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
      [chip, pair, shown, open, state] = ["all", null, PAGE, -1, ""];
      sort = { by: "", down: false };
      $(".search").value = "";
      $(".scores").hidden = true;
      draw();
    },
    asked: () => ({ start: rows.length }),
    progress(answer) {
      rows.push(...answer.rows);
      state = answer.state;
      const over = ["done", "stopped", "failed"].includes(state);
      if (answer.rows.length || over) draw();
      if (!over) return answer.rows.length < 400 ? 400 : 0;
      $(".scores").hidden = !answer.scores;
      $(".scores").innerHTML = answer.scores || ""; // from our own template, which escapes
      return null;
    },
  });

  // The table

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
      const made = button("chip", `${shownName(pair.folder)} → ${shownName(pair.taken)} ×`);
      made.dataset.chip = "all";
      made.setAttribute("aria-pressed", true);
      $(".chips").append(made);
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
    guess.append(make("span", "", shownName(row.label)));
    if (row.right !== null) guess.append(make("span", row.right ? "mark right" : "mark wrong", row.right ? "correct" : "wrong"));
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
    const answer = await rpc("classify/download", { gallery: gallery.id, kind });
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
