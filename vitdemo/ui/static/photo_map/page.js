// The map on a page of its own, with all it needs inside.
const told = JSON.parse(document.getElementById("told").textContent);
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const root = document.querySelector(".page-main");

const panel = new MapPanel(root, {
  open: (row) => {
    const box = root.querySelector(".page-photo");
    const point = panel.map.place.get(row.id);
    const { title, lines } = panel.describe(row, point);
    box.hidden = false;
    const picture = panel.map.thumbnails.url(point);
    box.querySelector("img").hidden = !picture;
    if (picture) box.querySelector("img").src = picture;
    box.querySelector("img").alt = title;
    box.querySelector(".page-said").textContent = [row.name, ...lines].join(" · ");
    panel.map.setOpened(row.id);
  },
  close: () => {
    root.querySelector(".page-photo").hidden = true;
    panel.map.setOpened(null);
  },
  select: () => {},
});
const pictures = unpacked(bytesOf(told.thumbnails.data), told.thumbnails.sections);
panel.setPhotos(told.rows, new Thumbnails(pictures.bytes, pictures.starts, () => {}));

function show(layer) {
  const map = told.maps.find((each) => each.layer === layer);
  panel.setMap(unpacked(bytesOf(map.data), map.sections), map.names, map.dimensions);
  const trust = map.trust === null ? "" : ` · trustworthiness ${map.trust.toFixed(3)}`;
  document.querySelector(".page-facts").textContent = `${told.model} · ${layer === "final" ? "final layer" : `layer ${layer}`} · ${told.pool === "cls" ? "CLS token" : "mean of patches"}${trust}${told.note ? ` · ${told.note}` : ""}`;
}

const strip = new LayerStrip(root, show);
strip.setLayers(told.maps.map((each) => each.layer), told.layer);
root.querySelector(".lay").hidden = told.maps.length < 2;
show(told.layer);
