// A new photo: given here or in another tab, announced by Python, fetched, shown.
const EMPTY = "Drop a photo here, paste one, or choose one above. You will see where the model looks in it: layer by layer, head by head, patch by patch.";

function state(name, text = "", share = null) {
  working(name === "busy" && told ? text : "");
  if (name === "busy" && told) return;
  explorer.dataset.state = name;
  $(".att-text").textContent = text;
  $(".att-text").setAttribute("role", name === "error" ? "alert" : "status");
  $(".att-message .bar").hidden = share === null;
  $(".att-message .bar").setAttribute("aria-valuenow", Math.round(100 * (share || 0)));
  $(".att-message .bar").firstElementChild.style.width = `${100 * (share || 0)}%`;
  $(".att-tour-start").hidden = name !== "ready";
}

function forget() {
  play(false);
  if (tour.step >= 0) toStep(-1);
  test.running++;
  [told, base, numbers] = [null, null, {}];
  $(".att-name").textContent = "";
  $(".att-notes").hidden = true;
}

async function announce() {
  const value = props.value || {};
  if (value.state === "ready") return show(value);
  if (value.state === "error" || value.state === "empty") forget();
  if (value.state === "error") state("error", value.text);
  else if (value.state === "busy") state("busy", value.text, value.share);
  else state("empty", EMPTY);
}

async function show(value) {
  if (value.session === told?.session) return;
  const image = $(".att-photo");
  let maps;
  try {
    const loaded = new Image();
    loaded.src = file(value.photo);
    [maps] = await Promise.all([fetched(value.maps), loaded.decode()]);
    if (props.value !== value && props.value?.session !== value.session) return;
    image.src = loaded.src;
    await image.decode();
  } catch {
    forget();
    return state("error", "The numbers could not be fetched: check the connection and give the photo again.");
  }
  if (tour.step >= 0) toStep(-1); // gives back the method and the layer, which stay with the next photo
  const layer = told ? Math.round((view.layer * value.layers) / told.layers) : value.layers;
  const method = value.top.length ? view.method : view.method === "rollout" ? "rollout" : "cls";
  forget();
  told = value;
  numbers = unpack(maps, value.sections);
  [links, classes, off] = [new Map(), new Map(value.top.map((each) => [each.index, each])), new Set()];
  Object.assign(view, { hover: null, held: null, target: null, other: null, part: "difference" });
  if (typeof view.head === "number" && view.head >= told.heads) view.head = "mean";
  Object.assign(test, { curves: {}, target: null });
  $(".att-erase-row").hidden = $(".att-erase-line").hidden = true;
  $(".att-k").dataset.fresh = "yes";
  $(".att-name").textContent = `${value.name} · ${value.model}`;
  $(".att-title").textContent = "Looking …";
  $(".att-notes").hidden = !value.notes.length;
  $(".att-notes").textContent = value.notes.join(" ");
  state("ready");
  fit();
  $(".att-layer").max = told.layers;
  drawHeads();
  drawLens();
  $$(".att-method button").forEach((each) => (each.disabled = each.dataset.method === "relevance" && !told.top.length));
  setMethod(method);
  setHead(String(view.head));
  setLayer(layer);
  erasing(null);
  drawWall();
  openHead(told.layers - 1, 0);
  $(".att-moves").replaceChildren();
  if (told.headsOff) drawMoves(told.top.map((each) => ({ ...each, after: each.probability })));
  problem("");
}

// The photo's pixels at most 1,200 a side, and at least so many that lines of patches stay smooth on a large screen.
function fit() {
  const image = $(".att-photo");
  const longest = Math.max(image.naturalWidth, image.naturalHeight);
  const scale = Math.min(1200, Math.max(900, longest)) / longest;
  const [width, height] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
  [canvas.width, canvas.height] = [width, height];
  $(".att-inner").style.setProperty("--shape", width / height);
  base = prepare(image, width, height);
}

// The head's and the colours' lists, before the first photo
$(".att-colours").append(...["inferno", "viridis", "magma", "cividis"].map((name) => Object.assign(make("option", "", name), { value: name })));
setMethod("relevance");
setDirection("looks-at");

// Giving a photo

async function give(photo) {
  if (!photo) return;
  problem("");
  state("busy", "Uploading the photo …");
  const form = new FormData();
  form.append("files", photo);
  try {
    const answer = await fetch(`${api}/upload`, { method: "POST", body: form });
    if (!answer.ok) throw new Error(answer.status === 413 ? "it is too large for this server." : `the server answered ${answer.status}.`);
    trigger("upload", { path: (await answer.json())[0] });
  } catch (error) {
    announce();
    problem(`The photo could not be uploaded: ${error.message} Try another one, or check the connection.`);
  }
}

$(".att-pick").addEventListener("change", (event) => {
  give(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  $(".att-frame").addEventListener(kind, (event) => {
    event.preventDefault();
    $(".att-frame").classList.add("over");
  });
}
$(".att-frame").addEventListener("dragleave", () => $(".att-frame").classList.remove("over"));
$(".att-frame").addEventListener("drop", (event) => {
  event.preventDefault();
  $(".att-frame").classList.remove("over");
  give(event.dataTransfer.files[0]);
});
const pasted = (event) => {
  if (!element.isConnected) return document.removeEventListener("paste", pasted);
  const photo = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith("image/"));
  if (photo && element.offsetParent) give(photo);
};
document.addEventListener("paste", pasted);

watch("value", announce);
announce();
