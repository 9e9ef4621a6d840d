// Where the map's points lie on the canvas.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Camera } from "../../vitdemo/ui/static/photo_map/camera.js";

const FLAT = Float32Array.of(0, 0, 10, 2, 4, 6); // three points in a plane
const SPACE = Float32Array.of(1, 1, 1, 3, 1, 1, 1, 5, 1, 1, 1, 7); // four in space

// A camera on a canvas of 400 × 300 pixels that shows all of these points.
function cameraOn(positions, dimensions, width = 400, height = 300) {
  const camera = new Camera();
  camera.width = width;
  camera.height = height;
  camera.use(camera.fitting(positions, dimensions));
  return camera;
}

// [x, y, nearness] of each point.
function seen(camera, positions, dimensions) {
  const [x, y, near] = [0, 1, 2].map(() => new Float64Array(positions.length / dimensions));
  camera.project(positions, dimensions, x, y, near);
  return Array.from(x, (_, point) => [x[point], y[point], near[point]]);
}

// The way back: the point that is seen at a place with a nearness; in space from the centre to the right, upwards and towards the eye.
function unseen(camera, [x, y, near], dimensions) {
  const size = camera.scale * near;
  const [across, up] = [(x - camera.width / 2 - camera.pan[0]) / size, (camera.height / 2 + camera.pan[1] - y) / size];
  if (dimensions === 2) return [across + camera.centre[0], up + camera.centre[1]];
  return [across, up, 3.5 * camera.reach * (1 - 1 / near)];
}

const pointsOf = (positions, dimensions) =>
  Array.from({ length: positions.length / dimensions }, (_, point) => [...positions.slice(point * dimensions, (point + 1) * dimensions)]);

const distances = (points) => points.flatMap((one) => points.map((other) => Math.hypot(...one.map((value, axis) => value - other[axis]))));

function alike(found, expected, within = 1e-9) {
  assert.equal(found.flat().length, expected.flat().length);
  found.flat().forEach((value, at) => assert.ok(Math.abs(value - expected.flat()[at]) <= within, `${found} is not ${expected}`));
}

test("before it shows anything, a camera can project already", () => {
  const camera = new Camera();
  assert.deepEqual([camera.width, camera.height, camera.zoom, camera.touched], [1, 1, 1, false]);
  alike(seen(camera, [0, 0, 2, 3], 2), [[0.5, 0.5, 1], [2.5, -2.5, 1]]);
  Object.assign(camera, { yaw: 0, pitch: 0 });
  alike(seen(camera, [0, 0, 0, 0, 2, 1], 3), [[0.5, 0.5, 1], [0.5, 0.5 - 2 * 1.4, 1.4]]);
});

test("a flat map fills the canvas but for a margin, in its middle, upwards", () => {
  const wide = cameraOn(FLAT, 2);
  assert.deepEqual(wide.centre, [5, 3, 0]);
  alike([wide.scale, wide.reach], [32.8, Math.hypot(5, 3)]);
  alike(seen(wide, FLAT, 2), [[36, 150 + 98.4, 1], [364, 150 + 32.8, 1], [200 - 32.8, 150 - 98.4, 1]]);
  const low = cameraOn(FLAT, 2, 1000, 132); // as high as it may be
  alike([low.scale], [10]);
  alike(seen(low, FLAT, 2).map(([, y]) => y), [96, 76, 36]);
});

test("a map in space stays on the canvas however it is turned", () => {
  const camera = cameraOn(SPACE, 3);
  assert.deepEqual(camera.centre, [2, 3, 4]);
  alike([camera.reach, camera.scale], [Math.hypot(1, 2, 3), 228 / (2 * Math.hypot(1, 2, 3))]);
  alike([cameraOn(SPACE, 3, 200).scale], [128 / (2 * Math.hypot(1, 2, 3))]);
  for (let turned = 0; turned < 40; turned++) {
    camera.turn(20, turned % 2 ? 90 : -70);
    for (const [x, y] of seen(camera, SPACE, 3)) assert.ok(x > 0 && x < 400 && y > 0 && y < 300);
  }
});

test("points without extent, or none, are shown at a scale that can be used", () => {
  const fitting = (positions, dimensions) => cameraOn([], 2).fitting(positions, dimensions);
  assert.deepEqual(fitting([], 2), { centre: [0, 0, 0], reach: 1, scale: 1 });
  assert.deepEqual(fitting([3, 4], 2), { centre: [3, 4, 0], reach: 1, scale: 1 });
  assert.deepEqual(fitting([3, 4, 5], 3), { centre: [3, 4, 5], reach: 1, scale: 114 });
  assert.deepEqual(fitting([3, 0, 3, 10], 2), { centre: [3, 5, 0], reach: 5, scale: 22.8 });
  assert.equal(fitting([0, 0, 1e-9, 1e-9], 2).scale, 1);
  assert.equal(fitting([0, 0, 0.25, 0], 2).reach, 0.125);
  alike([cameraOn(FLAT, 2, 1, 1).scale], [6]); // a canvas smaller than its margins
});

test("what lies under a place of the canvas stays there in a zoom", () => {
  for (const [positions, dimensions] of [[FLAT, 2], [SPACE, 3]]) {
    const camera = cameraOn(positions, dimensions);
    assert.deepEqual([camera.zoom, camera.touched], [1, false]);
    camera.move(30, -20);
    const before = seen(camera, positions, dimensions);
    const [x, y] = before[1];
    camera.zoomAt(1.5, x, y);
    camera.zoomAt(2, x, y);
    alike([camera.zoom], [3]);
    alike(seen(camera, positions, dimensions), before.map(([left, top, front]) => [x + 3 * (left - x), y + 3 * (top - y), front]));
    camera.zoomAt(1 / 3, x, y);
    alike(seen(camera, positions, dimensions), before);
  }
});

test("a zoom has its limits, and the place stays there too", () => {
  for (const [factor, limit] of [[1e6, 400], [1e-6, 0.2]]) {
    const camera = cameraOn(FLAT, 2);
    const [x, y] = seen(camera, FLAT, 2)[2];
    camera.zoomAt(factor, x, y);
    alike([camera.zoom], [limit]);
    alike(seen(camera, FLAT, 2)[2], [x, y, 1]);
    assert.equal(camera.touched, true);
  }
});

test("a move takes all points along, and none touches nothing", () => {
  const camera = cameraOn(FLAT, 2);
  const before = seen(camera, FLAT, 2);
  camera.move(0, 0);
  assert.equal(camera.touched, false);
  camera.move(5, 0);
  camera.move(0, -7);
  alike(seen(camera, FLAT, 2), before.map(([x, y, front]) => [x + 5, y - 7, front]));
  assert.equal(camera.touched, true);
});

test("from a place of the canvas back to the point", () => {
  const camera = cameraOn(FLAT, 2);
  camera.zoomAt(2.5, 70, 80);
  camera.move(-11, 13);
  alike(seen(camera, FLAT, 2).map((place) => unseen(camera, place, 2)), pointsOf(FLAT, 2));
});

test("turning keeps the distances between points, and the centre where it is", () => {
  const camera = cameraOn(SPACE, 3);
  camera.move(12, 34);
  const expected = distances(pointsOf(SPACE, 3));
  for (const [x, y] of [[0, 0], [100, 0], [0, 60], [-333, -150], [1000, 25]]) {
    camera.turn(x, y);
    alike(distances(seen(camera, SPACE, 3).map((place) => unseen(camera, place, 3))), expected, 1e-6);
    alike(seen(camera, Float32Array.from(camera.centre), 3), [[212, 184, 1]]);
  }
});

test("a turn follows the hand, and stops above and below", () => {
  const camera = new Camera();
  camera.turn(100, -20);
  alike([camera.yaw, camera.pitch], [1.3, 0.19]);
  assert.equal(camera.touched, true);
  camera.turn(0, 1000);
  assert.equal(camera.pitch, 1.57);
  camera.turn(0, -1000);
  assert.equal(camera.pitch, -1.57);
});

test("in space x is to the right, y upwards, and z towards the eye, until it is turned", () => {
  const camera = cameraOn([-1, -1, -1, 1, 1, 1], 3);
  Object.assign(camera, { scale: 10, reach: 1, yaw: 0, pitch: 0 });
  const axes = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  const [front, back] = [3.5 / 2.5, 3.5 / 4.5];
  alike(seen(camera, axes, 3), [[210, 150, 1], [200, 140, 1], [200, 150, front]]);
  camera.yaw = Math.PI / 2;
  alike(seen(camera, axes, 3), [[200, 150, back], [200, 140, 1], [210, 150, 1]]);
  Object.assign(camera, { yaw: 0, pitch: Math.PI / 2 });
  alike(seen(camera, axes, 3), [[210, 150, 1], [200, 150, front], [200, 160, 1]]);
});
