// What the colours of the map's points say.
import assert from "node:assert/strict";
import { test } from "node:test";

import { colourByName, colourByValue, GREY, NAMED, scaleColour, STEPS } from "../../vitdemo/ui/static/photo_map/colours.js";

// {name: its colour in the legend}
const legend = ({ entries }) => Object.fromEntries(entries.map(({ text, colour }) => [text, colour]));

test("no two names have one colour, and none is grey", () => {
  assert.equal(new Set([GREY, ...NAMED]).size, 21);
  for (const colour of [GREY, ...NAMED]) assert.match(colour, /^#[0-9a-f]{6}$/);
});

test("the legend has the commonest name first, equal ones by the alphabet, and what has no name last", () => {
  const names = ["", "cat", "owl", "dog", "", "owl", "", "bat", "owl", "dog", ""];
  const shown = colourByName(names, "nothing", new Map());
  assert.deepEqual(shown.entries, [
    { text: "owl", count: 3, colour: NAMED[0], name: "owl" },
    { text: "dog", count: 2, colour: NAMED[1], name: "dog" },
    { text: "bat", count: 1, colour: NAMED[2], name: "bat" },
    { text: "cat", count: 1, colour: NAMED[3], name: "cat" },
    { text: "nothing", count: 4, colour: GREY, name: "" },
  ]);
  assert.deepEqual(shown.codes, Uint16Array.of(0, 4, 1, 2, 0, 1, 0, 3, 1, 2, 0));
  assert.deepEqual(shown.palette, [GREY, ...NAMED]);
  assert.equal(shown.names, names);
});

test("where all have a name, or there are none, the legend says no more", () => {
  assert.deepEqual(colourByName(["owl"], "nothing", new Map()).entries, [{ text: "owl", count: 1, colour: NAMED[0], name: "owl" }]);
  assert.deepEqual(colourByName([], "nothing", new Map()).entries, []);
});

test("names beyond the colours are grey, and still in the legend", () => {
  const letters = [..."abcdefghijklmnopqrstuv"]; // 22, and there are 20 colours
  const kept = new Map();
  const shown = colourByName([...letters, "v"], "nothing", kept); // v is the commonest
  assert.deepEqual(shown.entries.map(({ name }) => name), ["v", ...letters.slice(0, 21)]);
  assert.deepEqual(shown.entries.map(({ colour }) => colour), [...NAMED, GREY, GREY]);
  assert.deepEqual([...shown.codes], [...letters.slice(0, 19).map((_, at) => at + 2), 0, 0, 1, 1]);
  assert.deepEqual([kept.size, kept.has("t")], [20, false]);
});

test("a name that comes again has the colour that it had", () => {
  const kept = new Map();
  colourByName(["owl", "owl", "dog"], "nothing", kept);
  const later = colourByName(["bat", "bat", "bat", "cat", "cat", "dog"], "nothing", kept);
  assert.deepEqual(later.entries.map(({ name }) => name), ["bat", "cat", "dog"]);
  assert.deepEqual(legend(later), { bat: NAMED[0], cat: NAMED[2], dog: NAMED[1] });
  assert.deepEqual(later.codes, Uint16Array.of(1, 1, 1, 3, 3, 2));
  assert.deepEqual(kept, new Map([["owl", 1], ["dog", 2], ["bat", 1], ["cat", 3]]));
  // Both had the first colour: the commoner one has it.
  assert.deepEqual(legend(colourByName(["owl", "owl", "bat"], "nothing", new Map(kept))), { owl: NAMED[0], bat: NAMED[1] });
  assert.deepEqual(legend(colourByName(["owl", "bat", "bat"], "nothing", new Map(kept))), { bat: NAMED[0], owl: NAMED[1] });
});

test("values share the scale's steps evenly, from the lowest to the highest", () => {
  const values = Float32Array.of(5, 1, NaN, 3, 1.08, 1.09, 4.92);
  const shown = colourByValue(values, (value) => `${value} m`);
  assert.deepEqual(shown.codes, Uint16Array.of(STEPS, 1, 0, 25, 1, 2, STEPS));
  assert.deepEqual(shown.range, { low: "1 m", high: "5 m" });
  assert.equal(shown.entries, undefined);
  assert.equal(shown.palette.length, STEPS + 1);
  assert.deepEqual([0, 1, STEPS].map((code) => shown.palette[code]), [GREY, scaleColour(0), scaleColour(1)]);
  assert.equal(shown.palette[25], scaleColour(24 / 47));
});

test("equal values have the first step, and no values have no range", () => {
  const same = colourByValue(Float32Array.of(2, 2), String);
  assert.deepEqual([same.codes, same.range], [Uint16Array.of(1, 1), { low: "2", high: "2" }]);
  const none = colourByValue(Float32Array.of(NaN, NaN), String);
  assert.deepEqual([none.codes, none.range], [Uint16Array.of(0, 0), null]);
});

test("the scale goes from violet by green to yellow", () => {
  const colours = [0, 1 / 9, 0.5, 1].map(scaleColour);
  assert.deepEqual(colours, ["rgb(68 1 84)", "rgb(72 40 120)", "rgb(35 144 140)", "rgb(253 231 37)"]);
  assert.deepEqual([-1, 2].map(scaleColour), [colours[0], colours[3]]);
});
