// What is read of a map: a patch's value and rank, the ends of the colours, and whose attention the map is.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

globalThis.window = {}; // rpc.js reads Gradio's address there
const state = await import("../../vitdemo/ui/static/attention/state.js");
const { drawable, ends, heat, reading } = await import("../../vitdemo/ui/static/attention/heat.js");
const { ordinal } = await import("../../vitdemo/ui/static/lib/format.js");
const { view } = state;

const geometry = { grid: [2, 2] };
const rollout = Float32Array.of(0.1, 0.2, 0.3, 0.2, 0.5, 0.25, 0.25, 0.25);
const top = [{ index: 7, name: "owl", probability: 0.9 }, { index: 8, name: "cat", probability: 0.1 }];
const relevance = { 7: Float32Array.of(0, 1, 2, 3, 4, 4, 4, 4), 8: Float32Array.of(0, 1, 2, 2, 9, 4, 4, 4) };

beforeEach(() => {
  state.setPhoto({ session: "a", geometry, layers: 2, heads: 1, prefix: 1, tokens: 5, cls: true, top }, { rollout, artefacts: new Uint8Array(8) });
  Object.assign(view, { method: "rollout", layer: 1, direction: "looks-at", locked: false, even: false, head: "mean" });
});

test("numbers in order", () => {
  const said = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 112, 123].map(ordinal).join(" ");
  assert.equal(said, "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 101st 111th 112th 123rd");
});

test("a patch is read with its value and rank; equal patches share one", () => {
  const texts = [[0, 0], [0, 1], [1, 0], [1, 1]].map((place) => reading(heat(), place).text);
  assert.deepEqual(texts, [
    "row 1, column 1 · 0.100 · 4th of 4",
    "row 1, column 2 · 0.200 · 2nd of 4",
    "row 2, column 1 · 0.300 · 1st of 4",
    "row 2, column 2 · 0.200 · 2nd of 4",
  ]);
});

test("the ends are the layer's own, or those of all layers where the scale is locked", () => {
  const near = (found, expected) => found.forEach((value, end) => assert.ok(Math.abs(value - expected[end]) < 1e-6, `${found} for ${expected}`));
  near(ends(), [0.1, 0.3]);
  view.locked = true;
  near(ends(), [0.1, 0.5]);
  view.layer = 2;
  near(ends(), [0.1, 0.5]);
  view.even = true; // the highest of each layer is cut off, and all of the second are then equal
  near(ends(), [0.1, 0.25]);
});

test("a difference keeps nought in the middle, locked or not", () => {
  for (const [target, heats] of Object.entries(relevance)) state.classes.set(Number(target), { ...state.classes.get(Number(target)), heats: { relevance: heats } });
  Object.assign(view, { method: "relevance", target: 7, other: 8, part: "difference" });
  assert.deepEqual(ends(), [-1, 1]);
  view.locked = true;
  assert.deepEqual(ends(), [-5, 5]);
});

test("artefacts take the mean of their nearest neighbours in maps of attention alone, and are named where a value is read", () => {
  state.numbers.artefacts.set([1, 0, 0, 0]);
  assert.deepEqual([...drawable()].map((value) => value.toFixed(3)), ["0.250", "0.200", "0.300", "0.200"]);
  assert.equal(reading(heat(), [0, 0]).text, "row 1, column 1 · 0.100 · 4th of 4 · artefact");
  view.artefacts = true;
  assert.deepEqual(drawable(), heat());
  view.artefacts = false;
  for (const [target, heats] of Object.entries(relevance)) state.classes.set(Number(target), { ...state.classes.get(Number(target)), heats: { votes: heats } });
  Object.assign(view, { method: "votes", target: 7 });
  assert.deepEqual([...drawable()], [0, 1, 2, 3]);
  assert.deepEqual(ends(), [-3, 3]); // votes are signed
});

test("the map is of the held patch, else of the one under the pointer, and of none where values are read", () => {
  assert.equal(state.patch(), null);
  view.hover = [1, 1];
  assert.deepEqual([state.patch(), state.pointed()], [[1, 1], [1, 1]]);
  view.held = [0, 1];
  assert.deepEqual([state.patch(), state.pointed()], [[0, 1], [1, 1]]);
  assert.equal(state.question().method, "looks-at");
  view.direction = "value";
  assert.deepEqual([state.patch(), state.pointed()], [null, [1, 1]]);
  assert.equal(state.question().method, "rollout");
});

test("an answer without some heads leaves nothing of the one before but names", () => {
  state.classes.set(9, { index: 9, name: "egg", probability: 0.3, heats: rollout });
  state.links.set(0, rollout);
  state.setAnswer({ session: "b", top: [{ index: 8, name: "cat", probability: 0.6 }], off: ["1,0"] }, { entropy: rollout });
  assert.deepEqual([state.told.session, state.told.first, state.told.layers], ["b", "a", 2]);
  assert.deepEqual([state.classes.get(8).probability, state.classes.get(9), state.links.size], [0.6, { index: 9, name: "egg", probability: 0.3 }, 0]);
  assert.deepEqual(Object.keys(state.numbers), ["rollout", "artefacts", "entropy"]);
  assert.equal(state.titled(), "Rollout · up to layer 1 of 2 · 1 head off");
});
