// The chosen photos, and the downloads.
import { rpc, save, saveBlob } from "../lib/rpc.js";
import { pngOf, svgOf } from "../photo_map/export.js";
import { nameClass } from "./add_class.js";
import { showTab, tile } from "./photo.js";
import { problem, tab } from "./shared.js";

const TILES = 60; // chosen photos on show at first
let tiles = TILES;

// Shows other photos as chosen: rows.
export function choose(rows) {
  const { $ } = tab;
  tab.chosen = rows;
  tiles = TILES;
  $(".emb-none-chosen").hidden = rows.length > 0;
  $(".emb-choice").hidden = !rows.length;
  $(".emb-count").textContent = rows.length === 1 ? "1 photo selected" : `${rows.length.toLocaleString("en")} photos selected`;
  const counts = new Map();
  for (const { folder, label } of rows) counts.set(folder || label, (counts.get(folder || label) || 0) + 1);
  const most = [...counts].filter(([name]) => name).sort((a, b) => b[1] - a[1]);
  const kinds = most.slice(0, 4).map(([name, count]) => `${count} ${name}`);
  $(".emb-mix").textContent = kinds.join(" · ") + (most.length > 4 ? ` · ${most.length - 4} more kinds` : "");
  nameClass(most.length && 2 * most[0][1] > rows.length ? most[0][0] : ""); // a mixture has no name
  drawTiles();
  if (rows.length) showTab("chosen");
  else if (!$(".emb-chosen").hidden) showTab("groups");
}

function drawTiles() {
  const { $, chosen } = tab;
  $(".emb-picked").replaceChildren(...chosen.slice(0, tiles).map((row) => tile(row.id, "", false)));
  $(".emb-more").hidden = chosen.length <= tiles;
}

// Downloads a kind of file; the chosen photos alone, or all. `note` is said again where nothing comes.
async function download(kind, chosenOnly, note) {
  const { $, gallery, panel, shown } = tab;
  const said = $(".emb-took");
  const drawn = kind === "svg" ? new Blob([svgOf(panel)], { type: "image/svg+xml" }) : kind === "png" ? await pngOf(panel) : null;
  said.textContent = "Writing it …";
  const ids = chosenOnly ? tab.chosen.map((row) => row.id) : null;
  const answer = await rpc(`embeddings/${drawn ? "picture" : "download"}`, { gallery: gallery.id, ...shown, kind, ids });
  if (!answer?.name) {
    said.textContent = note;
    return problem(answer?.error || "The download failed: try again.");
  }
  const name = drawn ? `${answer.name}.${kind}` : answer.name;
  if (drawn) saveBlob(drawn, name);
  else save(answer.path, name);
  said.textContent = `Saved as ${name}.`;
}

export function mountSelection() {
  const { $ } = tab;
  const note = $(".emb-took").textContent;
  $(".emb-more").addEventListener("click", () => {
    tiles += 4 * TILES;
    drawTiles();
  });
  $(".emb-clear").addEventListener("click", () => tab.panel.map.select(null));
  $(".emb").addEventListener("click", (event) => {
    const { kind } = event.target.closest(".emb-take [data-kind]")?.dataset || {};
    if (kind) download(kind, Boolean(event.target.closest("[data-chosen]")), note);
  });
}
