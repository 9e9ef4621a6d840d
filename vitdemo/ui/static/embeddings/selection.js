// The chosen photos, and what there is to take away.
const TILES = 60; // chosen photos on show at first
let tiles = TILES;

function choose(rows) {
  chosen = rows;
  tiles = TILES;
  $(".emb-none-chosen").hidden = rows.length > 0;
  $(".emb-choice").hidden = !rows.length;
  $(".emb-count").textContent = rows.length === 1 ? "1 photo selected" : `${rows.length.toLocaleString("en")} photos selected`;
  const counts = new Map();
  for (const { folder, label } of rows) counts.set(folder || label, (counts.get(folder || label) || 0) + 1);
  const most = [...counts].filter(([name]) => name).sort((a, b) => b[1] - a[1]);
  $(".emb-mix").textContent = most.slice(0, 4).map(([name, count]) => `${count} ${name}`).join(" · ") + (most.length > 4 ? ` · ${most.length - 4} more kinds` : "");
  nameClass(most.length && 2 * most[0][1] > rows.length ? most[0][0] : ""); // a mixture has no name
  drawTiles();
  if (rows.length) showTab("chosen");
  else if (!$(".emb-chosen").hidden) showTab("groups");
}

function drawTiles() {
  $(".emb-picked").replaceChildren(...chosen.slice(0, tiles).map((row) => tile(row.id, "", false)));
  $(".emb-more").hidden = chosen.length <= tiles;
}

$(".emb-more").addEventListener("click", () => {
  tiles += 4 * TILES;
  drawTiles();
});
$(".emb-clear").addEventListener("click", () => panel.map.select(null));

// Taking away

const NOTE = $(".emb-took").textContent;
$(".emb").addEventListener("click", async (event) => {
  const { kind } = event.target.closest(".emb-take [data-kind]")?.dataset || {};
  if (!kind) return;
  const said = $(".emb-took");
  const name = `map-${shown.layer}-${shown.pool}`;
  if (kind === "svg" || kind === "png") {
    saveBlob(kind === "svg" ? new Blob([svgOf(panel)], { type: "image/svg+xml" }) : await pngOf(panel), `${name}.${kind}`);
    return (said.textContent = `Saved as ${name}.${kind}.`);
  }
  said.textContent = "Writing it …";
  const ids = event.target.closest("[data-chosen]") ? chosen.map((row) => row.id) : null;
  const answer = await rpc("embeddings/download", { gallery: run, ...shown, kind, ids });
  if (!answer?.path) {
    said.textContent = NOTE;
    return problem(answer?.error || "The download failed: try again.");
  }
  save(answer.path, answer.name);
  said.textContent = `Saved as ${answer.name}.`;
});

showTab("groups");
resumed();
