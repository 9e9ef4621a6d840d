// Numbers for people.
import assert from "node:assert/strict";
import { test } from "node:test";

import { clock, count, duration, percent, shownName } from "../../vitdemo/ui/static/lib/format.js";

test("a probability is never rounded to zero or to certainty", () => {
  const shares = [0, 0.00049, 0.001, 0.5, 0.9994, 0.99951, 1];
  assert.deepEqual(shares.map(percent), ["0.0 %", "< 0.1 %", "0.1 %", "50.0 %", "> 99.9 %", "> 99.9 %", "100.0 %"]);
});

test("a count has its noun", () => {
  assert.deepEqual([0, 1, 2, 5000].map((number) => count(number, "photo")), ["0 photos", "1 photo", "2 photos", "5,000 photos"]);
});

test("seconds become minutes", () => {
  assert.deepEqual([0, 9.4, 59.6, 65, 3600].map(clock), ["0:00", "0:09", "1:00", "1:05", "60:00"]);
});

test("a name is shown as one line, and a long one without its middle", () => {
  const names = ["a.jpg", "a\nb", "\u202egnp.exe", "گربه\u200cها", "", "x".repeat(61)];
  assert.deepEqual(names.map((name) => shownName(name)), ["a.jpg", "a�b", "�gnp.exe", "گربه\u200cها", "unnamed", `${"x".repeat(39)}…${"x".repeat(20)}`]);
});

test("durations are said as people say them", () => {
  assert.deepEqual([0.2, 12.4, 89, 200, 5390, 5400, 45000].map(duration), ["1 s", "12 s", "89 s", "3 min", "90 min", "1.5 h", "13 h"]);
});
