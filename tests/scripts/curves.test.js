// Which curves of a training are drawn.
import assert from "node:assert/strict";
import { test } from "node:test";

import { drawn, ends } from "../../vitdemo/ui/static/finetune/curves.js";

const epoch = (stage, rates) => ({ stage, rates, loss: 1, validation_loss: 1, accuracy: 0.5, macro_f1: 0.5 });
const titles = (epochs) => drawn(epochs).map(([title]) => title.split(" ")[0]);

test("a single epoch has no curve", () => assert.deepEqual(titles([epoch("head", {})]), []));

test("the layers' rates are drawn with the losses", () => {
  const epochs = [epoch("head", {}), epoch("blocks", { head: 0.1, "block 3": 0.1, "block 2": 0.05 }), epoch("blocks", { head: 0 })];
  assert.deepEqual(titles(epochs), ["Loss", "Validation", "Learning"]);
  assert.deepEqual(drawn(epochs)[2][1].map(([name]) => name), ["head peak", "block 3 peak", "block 2 peak"]);
});

test("rates that had fallen to zero at the end of the only epoch have no curve", () =>
  assert.deepEqual(titles([epoch("head", {}), epoch("blocks", { head: 0, "block 3": 0 })]), ["Loss", "Validation"]));

test("the epochs of the blocks are counted from 1, as in the progress", () => {
  const blocks = [1, 2, 3].map((epoch) => ({ stage: "blocks", epoch }));
  assert.deepEqual(ends([{ stage: "head", epoch: 1 }, ...blocks]), ["head", "epoch 3"]);
  assert.deepEqual(ends(blocks), ["1", "epoch 3"]);
});
