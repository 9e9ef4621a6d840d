// What a training says of itself.
import assert from "node:assert/strict";
import { test } from "node:test";

import { said } from "../../vitdemo/ui/static/finetune/progress.js";

const estimate = (seconds) => ({ kind: "estimate", seconds });
const photos = { kind: "photos", done: 3, total: 36, speed: 9.87 };
const head = { kind: "epoch", stage: "head", epoch: 1, of: 1, accuracy: 0.972 };
const block = { kind: "epoch", stage: "blocks", epoch: 2, of: 5, accuracy: 0.9, photos_per_second: 12.4, seconds_left: 65 };
const step = { kind: "step", stage: "blocks", epoch: 3, of: 5, done: 8, total: 24 };

const words = (job, events, { place = 0, stopping = false } = {}) =>
  said({ job, place }, events, events.filter((each) => each.kind === "epoch"), stopping);

test("a job that waits says how many are ahead", () => {
  assert.equal(words("waiting", [], { place: 3 }), "Waiting: 3 jobs are ahead of yours …");
  assert.equal(words("waiting", [], { place: 1 }), "Waiting for another job …");
});

test("the time in all is said where it is worth a word", () => {
  assert.equal(words("running", [estimate(90), photos]), "Computing features: 3 of 36 photos, 9.9 a second. About 2 min of work, by a measured pass.");
  assert.equal(words("running", [estimate(2), photos]), "Computing features: 3 of 36 photos, 9.9 a second.");
});

test("each stage says how far it is", () => {
  assert.equal(words("running", [head]), "The head is fitted: 97.2 % accuracy.");
  assert.equal(words("running", [head, block]), "Blocks, epoch 2 of 5: 90.0 % accuracy · 12 photos a second · 1:05 left for the blocks");
  assert.equal(words("running", [head, block, step]), "Blocks, epoch 3 of 5: 8 of 24 photos · 1:05 left");
  assert.equal(words("running", [head, block, step], { stopping: true }), "Stopping … Blocks: epoch 2 of 5.");
});

test("an end says what stays", () => {
  assert.match(words("stopped", [head, block]), /^Stopped\. Blocks: epoch 2 of 5\. What was learned is kept/);
  assert.equal(words("failed", []), "Ended.");
  assert.equal(words("done", [head]), "Done.");
  assert.match(words("done", [{ kind: "resumed" }]), /already trained to the end/);
});
