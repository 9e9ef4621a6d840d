// The map on a page of its own, with all it needs inside.
import { bytesOf, unpack } from "../lib/arrays.js";
import { LayerStrip } from "./layers.js";
import { MapPanel } from "./panel.js";
import { Thumbnails } from "./thumbnails.js";

const told = JSON.parse(document.getElementById("told").textContent);
const root = document.querySelector(".page-main");
const photo = /** @type {HTMLElement} */ (root.querySelector(".page-photo"));
const layers = /** @type {HTMLElement} */ (root.querySelector(".lay"));

const panel = new MapPanel(root, {
  open: (row) => {
    const point = panel.map.place.get(row.id);
    const { title, lines } = panel.describe(row, point);
    photo.hidden = false;
    const picture = panel.map.thumbnails.url(point);
    photo.querySelector("img").hidden = !picture;
    if (picture) photo.querySelector("img").src = picture;
    photo.querySelector("img").alt = title;
    photo.querySelector(".page-said").textContent = [row.name, ...lines].join(" · ");
    panel.map.setOpened(row.id);
  },
  close: () => {
    photo.hidden = true;
    panel.map.setOpened(null);
  },
  select: () => {},
});
const pictures = unpack(bytesOf(told.thumbnails.data), told.thumbnails.sections);
panel.setPhotos(told.rows, new Thumbnails(pictures.bytes, pictures.starts, () => {}));

function show(layer) {
  const map = told.maps.find((drawn) => drawn.layer === layer);
  panel.setMap(unpack(bytesOf(map.data), map.sections), map.names, map.dimensions);
  const trust = map.trust === null ? "" : ` · trustworthiness ${map.trust.toFixed(3)}`;
  const name = layer === "final" ? "final layer" : `layer ${layer}`;
  const vector = told.pool === "cls" ? "CLS token" : "mean of patches";
  const note = told.note ? ` · ${told.note}` : "";
  document.querySelector(".page-facts").textContent = `${told.model} · ${name} · ${vector}${trust}${note}`;
}

const strip = new LayerStrip(root, show);
strip.setLayers(told.maps.map((drawn) => drawn.layer), told.layer);
layers.hidden = told.maps.length < 2;
show(told.layer);
