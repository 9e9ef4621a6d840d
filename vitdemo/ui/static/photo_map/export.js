// A map as a picture: what is on show, with its legend; PNG as drawn, SVG made of circles.
import { NAMED } from "./colours.js";
import { LIFT, QUIET } from "./paint.js";

const WIDE = 250; // pixels for the legend
const escaped = (text) => text.replace(/[<>&"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

function legendOf(panel) {
  const { entries, range, palette } = panel.shown;
  if (range) return [{ colour: palette[1], text: range.low }, { colour: palette.at(-1), text: range.high }];
  const short = (text) => (text.length > 26 ? `${text.slice(0, 25)}…` : text);
  return entries.slice(0, NAMED.length + 1).map(({ colour, text, count }) => ({ colour, text: `${short(text)}  ${count}` }));
}

export function pngOf(panel) {
  const { canvas, painter, camera } = panel.map;
  const { ratio, edge, ink, font } = painter;
  const copy = Object.assign(document.createElement("canvas"), { width: Math.round((camera.width + WIDE) * ratio), height: canvas.height });
  const context = copy.getContext("2d");
  panel.map.draw();
  context.fillStyle = edge;
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = `13px ${font}`;
  context.textBaseline = "middle";
  legendOf(panel).forEach(({ colour, text }, line) => {
    const y = 24 + 22 * line;
    if (y > camera.height - 8) return;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(camera.width + 14, y, 5.5, 0, 7);
    context.fill();
    context.fillStyle = ink;
    context.fillText(text, camera.width + 28, y);
  });
  return new Promise((done) => copy.toBlob(done, "image/png"));
}

export function svgOf(panel) {
  const { map } = panel;
  const { camera, painter } = map;
  const radius = painter.radius(map);
  const number = (value) => value.toFixed(1);
  const points = [...map.order]
    .sort((a, b) => (map.selecting ? map.mask[a] - map.mask[b] : 0))
    .map((point) => {
      const hollow = map.codes[point] === 0 && map.hollow;
      const colour = map.palette[map.codes[point]];
      const paint = hollow ? `fill="none" stroke="${colour}"` : `fill="${colour}"`;
      const quiet = map.selecting && !map.mask[point] ? ` opacity="${QUIET}"` : "";
      const place = `cx="${number(map.x[point])}" cy="${number(map.y[point])}" r="${number(radius * map.near[point])}"`;
      return `<circle ${place} ${paint}${quiet}><title>${escaped(panel.rows[point].name)}</title></circle>`;
    });
  const outlined = `text-anchor="middle" font-weight="600" stroke="${painter.edge}" stroke-width="3" paint-order="stroke"`;
  const { x, y } = map.labelled ? map.anchors() : {};
  const names = (map.labelled ? map.groups : []).map(
    ({ text }, group) => `<text x="${number(x[group])}" y="${number(y[group] - LIFT)}" ${outlined}>${escaped(text)}</text>`
  );
  const legend = legendOf(panel).map(
    ({ colour, text }, line) =>
      `<circle cx="${camera.width + 14}" cy="${24 + 22 * line}" r="5.5" fill="${colour}"/>` +
      `<text x="${camera.width + 28}" y="${28 + 22 * line}">${escaped(text)}</text>`
  );
  const [width, height] = [camera.width + WIDE, Math.max(camera.height, 30 + 22 * legend.length)];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"` +
    ` font-family="system-ui, sans-serif" font-size="13" fill="${painter.ink}">` +
    `<rect width="100%" height="100%" fill="${painter.edge}"/>` +
    `<svg width="${camera.width}" height="${height}">${points.join("")}${names.join("")}</svg>${legend.join("")}</svg>`
  );
}
