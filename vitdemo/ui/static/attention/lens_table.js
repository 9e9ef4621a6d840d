// The logit lens as a table: the leading classes after each layer, their probabilities on one scale from 0 to 100 %.
import { button, make } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { setLayer } from "./layers.js";
import { $, $$, follow, told, view } from "./state.js";

export function listen() {
  follow("layer", markLensTable);
  $(".att-lens-table tbody").addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line) setLayer(Number(line.dataset.layer));
  });
}

export function drawLensTable() {
  $(".att-lens-table").hidden = !told.firsts.length;
  const answer = told.lens.at(-1)?.index;
  const lines = told.firsts.map((firsts, place) => {
    const line = make("tr");
    line.dataset.layer = place + 1;
    const layer = make("th");
    layer.scope = "row";
    layer.append(button("", String(place + 1)));
    layer.firstChild.setAttribute("aria-label", `Show layer ${place + 1}`);
    const cells = firsts.map(({ index, name, probability }) => {
      const cell = make("td", index === answer ? "same" : "");
      cell.append(make("span", "", name), make("small", "", percent(probability)), make("i"));
      cell.lastChild.style.setProperty("--share", probability);
      return cell;
    });
    line.append(layer, ...cells);
    return line;
  });
  $(".att-lens-table tbody").replaceChildren(...lines);
  markLensTable();
}

export function markLensTable() {
  $$(".att-lens-table tbody tr").forEach((line, place) => line.classList.toggle("current", place + 1 === view.layer));
}
