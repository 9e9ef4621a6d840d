// The photo: hover, hold, arrow keys, layers and play.
const canvas = $(".att-heat");

function at(event) {
  const box = canvas.getBoundingClientRect();
  const [left, top, right, bottom] = told.geometry.box;
  const x = ((event.clientX - box.left) / box.width) * told.geometry.photo[0];
  const y = ((event.clientY - box.top) / box.height) * told.geometry.photo[1];
  const column = Math.floor(((x - left) / (right - left)) * columns());
  const row = Math.floor(((y - top) / (bottom - top)) * rows());
  return row >= 0 && row < rows() && column >= 0 && column < columns() ? [row, column] : null;
}

const same = (a, b) => a === b || (a && b && a[0] === b[0] && a[1] === b[1]);

function hover(place) {
  if (same(place, view.hover)) return;
  view.hover = place;
  if (place) wantLinks();
  redraw();
}

// One head's attention for the hover, fetched when it is first needed; the mean of all is there from the start.
async function wantLinks() {
  const head = view.head;
  if (head === "mean" || links.has(head)) return;
  links.set(head, null);
  const answer = await ask("head", { head });
  if (!answer) return links.delete(head);
  const session = told.session;
  const buffer = await fetched(answer.path).catch(() => null);
  if (session !== told?.session) return;
  buffer ? links.set(head, unpack(buffer, answer.sections)) : links.delete(head);
  redraw();
}

canvas.addEventListener("pointermove", (event) => {
  if (!told) return;
  if (event.pointerType !== "touch") hover(at(event));
});
canvas.addEventListener("pointerleave", () => hover(null));
canvas.addEventListener("click", (event) => {
  if (told) hold(at(event));
});

function hold(place) {
  view.held = same(place, view.held) ? null : place;
  view.hover = null;
  if (view.held) wantLinks();
  tell();
  redraw();
}

canvas.addEventListener("keydown", (event) => {
  if (!told) return;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const { key } = event;
  if (steps[key]) {
    const [row, column] = patch() || [rows() >> 1, columns() >> 1];
    const [down, across] = patch() ? steps[key] : [0, 0];
    const next = [Math.min(rows() - 1, Math.max(0, row + down)), Math.min(columns() - 1, Math.max(0, column + across))];
    view.hover = next;
    wantLinks();
    tell();
  } else if (key === "Enter" || key === " ") hold(patch());
  else if (key === "Escape") [view.hover, view.held] = [null, null];
  else if (key === "PageUp" || key === "PageDown") setLayer(view.layer + (key === "PageUp" ? 1 : -1));
  else return;
  event.preventDefault();
  redraw();
});
canvas.addEventListener("blur", () => hover(null));

const placed = ([row, column]) => `row ${row + 1}, column ${column + 1}`;

// For a screen reader: where the patch looks most.
function tell() {
  const values = patch() && heat();
  if (!values) return ($(".att-said").textContent = "");
  const most = values.indexOf(Math.max(...values));
  const where = placed([Math.floor(most / columns()), most % columns()]);
  const words = view.direction === "looks-at" ? "looks most at" : "is looked at most by";
  const held = view.held && !view.hover ? "Held: the" : "The";
  $(".att-said").textContent = `${held} patch in ${placed(patch())} ${words} ${where}, ${digits(values[most])} of its attention.`;
}

// What the map is that `heat` gives.
function titled() {
  const layer = `layer ${view.layer} of ${told.layers}`;
  const head = view.head === "mean" || view.head === "max" || view.head === "min" ? `${view.head} of ${told.heads} heads` : `head ${view.head}`;
  const name = (target) => classes.get(target)?.name || "…";
  if (patch()) return `What the patch in ${placed(patch())} ${view.direction === "looks-at" ? "looks at" : "is looked at by"} · ${layer} · ${head}`;
  if (view.method === "cls") return `What ${reader()} looks at · ${layer} · ${head}`;
  if (view.method === "rollout") return `Rollout · up to ${layer}`;
  if (view.other === null || view.part === "a") return `What supports ${name(view.target)} · up to ${layer}`;
  if (view.part === "b") return `What supports ${name(view.other)} · up to ${layer}`;
  return `Why ${name(view.target)}, and not ${name(view.other)} · up to ${layer}`;
}

// Layers

let playing = 0;

function setLayer(layer) {
  view.layer = Math.min(told.layers, Math.max(1, layer));
  const range = $(".att-layer");
  range.value = view.layer;
  range.setAttribute("aria-valuetext", `layer ${view.layer} of ${told.layers}`);
  $(".att-layer-text").textContent = `${view.layer} / ${told.layers}`;
  $$(".att-lens button").forEach((each, index) => each.setAttribute("aria-pressed", index + 1 === view.layer));
  const leading = told.lens[view.layer - 1];
  $(".att-lens-text").replaceChildren();
  if (leading) {
    $(".att-lens-text").append(`Logit lens: after layer ${view.layer} the head would say `, make("strong", "", leading.name), `, ${percent(leading.probability)}.`);
  }
  $(".att-time-why").hidden = !leading;
  if (!leading) $(".att-lens-text").textContent = "This model has no classes, so there is nothing for a logit lens, relevance or the erase test to follow.";
  markWall();
  drawThree();
  redraw();
}

function play(on = !playing) {
  clearInterval(playing);
  playing = 0;
  if (on) {
    if (view.layer === told.layers) setLayer(1);
    playing = setInterval(() => {
      if (!element.isConnected || !told || view.layer >= told.layers) return play(false);
      setLayer(view.layer + 1);
    }, 600);
  }
  $(".att-play").setAttribute("aria-pressed", on);
  $(".att-play").setAttribute("aria-label", on ? "Pause" : "Play through the layers");
  $(".att-play-shape").setAttribute("d", on ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z");
}

$(".att-play").addEventListener("click", () => told && play());
$(".att-layer").addEventListener("input", (event) => {
  play(false);
  setLayer(Number(event.target.value));
});
$(".att-lens").addEventListener("click", (event) => {
  const chosen = event.target.closest("button");
  if (chosen) play(false), setLayer(Number(chosen.dataset.layer));
});

function drawLens() {
  const answer = told.lens.at(-1)?.index;
  $(".att-lens").hidden = !told.lens.length;
  const most = Math.max(0.2, ...told.lens.map((each) => each.probability));
  $(".att-lens").replaceChildren(
    ...told.lens.map((each, index) => {
      const column = button(each.index === answer ? "same" : "", "");
      const words = `Layer ${index + 1}: ${each.name}, ${percent(each.probability)}`;
      Object.assign(column, { title: words, tabIndex: -1 });
      column.setAttribute("aria-label", words);
      column.dataset.layer = index + 1;
      column.append(make("i"));
      column.firstChild.style.height = `${Math.max(5, (100 * each.probability) / most)}%`;
      return column;
    })
  );
}
