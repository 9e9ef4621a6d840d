// Which map to believe: every method by the same tests, on the photo on show or on photos that somebody gives.
import { bytesOf } from "../../lib/arrays.js";
import { make, pause, say } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { span } from "../heat.js";
import { miniature, paintCrop } from "../overlay.js";
import { sendPhoto } from "../../lib/upload.js";
import { $, ask, base, element, problem, told, view } from "../state.js";

const SIDE = 72; // pixels of a map's longer side
let running = 0;
let uploading = false;

export function listen() {
  $(".att-believe-start").addEventListener("click", () => told && compare({ target: view.target }));
  $(".att-believe-stop").addEventListener("click", () => {
    if (!uploading) return ask("compared", { stop: true });
    running++;
    uploading = false;
    progress(null, "Stopped.");
  });
  $(".att-believe-pick").addEventListener("change", async (event) => {
    const given = [...event.target.files];
    event.target.value = "";
    if (!told || !given.length) return;
    const mine = ++running;
    const files = [];
    uploading = true;
    try {
      for (const each of given) {
        progress(0, `Uploading ${files.length + 1} of ${given.length} …`);
        files.push({ path: await sendPhoto(each), name: each.name });
        if (mine !== running) return;
      }
    } catch (error) {
      if (mine !== running) return;
      uploading = false;
      progress(null);
      return problem(error.message);
    }
    uploading = false;
    compare({ files });
  });
}

// For a new photo, or the same one without some heads.
export function startAnew() {
  running++;
  uploading = false;
  progress(null);
  say($(".att-believe-model"), told?.off.length ? `Compared on the model with ${count(told.off.length, "head")} off.` : "");
  $(".att-believe-text").textContent = "";
  $(".att-believe-said").replaceChildren();
  $(".att-believe-wrap").hidden = $(".att-believe-how").hidden = $(".att-believe-details").hidden = true;
  $(".att-believe-start").disabled = !told?.top.length;
}

async function compare(asked) {
  const mine = ++running;
  progress(0, "Getting ready …");
  if (!(await ask("compare", asked))) return mine === running && progress(null);
  while (mine === running && element.isConnected) {
    const answer = await ask("compared");
    if (!answer || mine !== running) break;
    progress(answer.over ? null : answer.done, answer.text);
    if (answer.rows.length) draw(answer);
    if (answer.error) problem(answer.error);
    if (answer.over) return;
    await pause(300);
  }
  if (mine === running) progress(null);
}

function progress(share, text = "") {
  const on = share !== null;
  $(".att-believe-start").disabled = on || !told?.top.length;
  $(".att-believe-pick").disabled = on;
  $(".att-believe-stop").hidden = !on;
  $(".att-believe-bar").hidden = !on;
  $(".att-believe-bar").setAttribute("aria-valuenow", Math.round(100 * (share || 0)));
  $(".att-believe-bar").firstElementChild.style.width = `${Math.max(4, 100 * (share || 0))}%`;
  $(".att-believe-text").textContent = text;
}

function draw({ columns, rows, sentences, details, how }) {
  $(".att-believe-details").hidden = !details.length;
  $(".att-believe-details ul").replaceChildren(...details.map((sentence) => make("li", "", sentence)));
  $(".att-believe-said").replaceChildren(...sentences.map((sentence) => make("li", "", sentence)));
  $(".att-believe-how").textContent = how;
  $(".att-believe-wrap").hidden = $(".att-believe-how").hidden = false;
  const head = make("tr");
  head.append(headOf("Method"), ...columns.map((column) => headOf(`${column.name} ${column.lower ? "↓" : "↑"}`, column.meaning)));
  $(".att-believe-table thead").replaceChildren(head);
  const scales = columns.map(({ key }) => scaleOf(rows.map((row) => row.cells[key]).filter(Boolean)));
  $(".att-believe-table tbody").replaceChildren(...rows.map((row) => lineOf(row, columns, scales)));
}

function headOf(text, title = "") {
  const made = make("th", "", text);
  made.scope = "col";
  made.title = title;
  return made;
}

function scaleOf(cells) {
  const ends = cells.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]);
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  return (value) => (most > least ? (value - least) / (most - least) : 0.5);
}

function lineOf(row, columns, scales) {
  const line = make("tr", row.baseline ? "baseline" : "");
  const head = make("th");
  head.scope = "row";
  if (row.heat && base) {
    const values = new Float32Array(bytesOf(row.heat));
    const small = make("canvas");
    const even = row.signed;
    paintCrop(small, (base.believe ??= miniature(base, $(".att-photo"), SIDE)), values, span(values, even), { ...view, colours: even ? "coolwarm" : view.colours });
    head.append(small);
  }
  head.append(make("span", "", row.name));
  line.append(head);
  columns.forEach(({ key }, place) => {
    const cell = make("td");
    const found = row.cells[key];
    if (found) {
      const scale = scales[place];
      cell.className = found.verdict;
      const plot = make("i");
      plot.style.setProperty("--at", scale(found.value));
      plot.style.setProperty("--low", scale(found.low ?? found.value));
      plot.style.setProperty("--high", scale(found.high ?? found.value));
      cell.append(make("span", "", found.value.toFixed(3).replace("-", "−")), plot);
      if (found.low !== null) cell.title = `${found.low.toFixed(3)} to ${found.high.toFixed(3)}`;
    } else cell.append(make("span", "", "–"));
    line.append(cell);
  });
  return line;
}
