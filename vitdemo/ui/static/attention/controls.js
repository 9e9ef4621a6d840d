// The side: method, head, direction and how the picture is drawn. All of it happens in the page.
const METHODS = {
  cls: () => (told?.cls ?? true ? "What the CLS token, which the classifier reads, looks at in this layer." : "What the pooled patches look at in this layer."),
  rollout: () => "Attention followed back through all layers, up to this one.",
  relevance: () => "What supports a class: attention weighted by its influence on that class.",
};
const DIRECTIONS = {
  "looks-at": "Its query: where it takes information from.",
  "looked-at-by": "Its key: which patches take information from it.",
};

// Radio buttons in a row: one stop for Tab, arrow keys move, as in a native group.
function segments(selector, attribute, choose) {
  const all = $$(`${selector} button`);
  const pick = (chosen) => {
    all.forEach((each) => {
      each.setAttribute("aria-checked", each === chosen);
      each.tabIndex = each === chosen ? 0 : -1;
    });
    choose(chosen.dataset[attribute]);
  };
  all.forEach((each, index) => {
    each.tabIndex = each.getAttribute("aria-checked") === "true" ? 0 : -1;
    each.addEventListener("click", () => pick(each));
    each.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const free = all.filter((other) => !other.disabled);
      const next = free[(free.indexOf(each) + step + free.length) % free.length];
      next.focus();
      pick(next);
    });
  });
  return (value) => pick(all.find((each) => each.dataset[attribute] === value));
}

const setMethod = segments(".att-method", "method", (method) => {
  view.method = method;
  view.held = null;
  $(".att-method-why").textContent = METHODS[method]();
  $(".att-classes").hidden = method !== "relevance";
  if (method === "relevance" && told) startClasses();
  fitHead();
  redraw();
});
const setDirection = segments(".att-direction", "direction", (direction) => {
  view.direction = direction;
  $(".att-direction-why").textContent = DIRECTIONS[direction];
  if (told) tell();
  redraw();
});

$(".att-head").addEventListener("change", (event) => setHead(event.target.value));

function setHead(value) {
  view.head = /^\d+$/.test(value) ? Number(value) : value;
  $(".att-head").value = String(value);
  if (patch()) wantLinks();
  markWall();
  redraw();
}

function fitHead() {
  $(".att-head-why").textContent =
    view.method === "cls" ? "One head of the layer, or all of them combined." : "This method uses all heads. The selection applies to the patch you point at.";
}

function drawHeads() {
  const fused = [["mean", `mean of all ${told.heads}`], ["max", "max of all"], ["min", "min of all"]];
  const each = Array.from({ length: told.heads }, (_, head) => [String(head), `head ${head}`]);
  $(".att-head").replaceChildren(...[...fused, ...each].map(([value, text]) => Object.assign(make("option", "", text), { value })));
}

function picture() {
  view.opacity = Number($(".att-opacity").value) / 100;
  view.split = Number($(".att-split").value) / 100;
  view.colours = $(".att-colours").value || "inferno";
  view.smooth = $(".att-smooth").checked;
  view.even = $(".att-even").checked;
  $(".att-opacity-text").textContent = `${$(".att-opacity").value} %`;
  $(".att-split-text").textContent = view.split ? `${$(".att-split").value} %` : "off";
  drawLarge();
  drawThree();
  redraw();
}
for (const name of [".att-opacity", ".att-split", ".att-colours", ".att-smooth", ".att-even", ".att-gridded", ".att-framed"]) $(name).addEventListener("input", picture);

// The divider follows the mouse, too.
$(".att-divider").addEventListener("pointerdown", (event) => {
  const box = canvas.getBoundingClientRect();
  const move = (moved) => {
    $(".att-split").value = Math.round((100 * (moved.clientX - box.left)) / box.width);
    picture();
  };
  const done = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", done);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", done);
  event.preventDefault();
});
