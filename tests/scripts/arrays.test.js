// Arrays that came in one file.
import assert from "node:assert/strict";
import { test } from "node:test";

import { bytesOf, unpack } from "../../vitdemo/ui/static/lib/arrays.js";

test("sections become typed arrays, each with its own type, start and length", () => {
  const buffer = new ArrayBuffer(16);
  new Uint8Array(buffer).set([1, 2, 3]);
  new Float32Array(buffer, 4, 2).set([0.5, -1]);
  new Int32Array(buffer, 12, 1).set([-7]);
  const arrays = unpack(buffer, { a: ["uint8", 0, 3], b: ["float32", 4, 2], c: ["int32", 12, 1], d: ["uint16", 0, 0] });
  assert.deepEqual(arrays, { a: Uint8Array.of(1, 2, 3), b: Float32Array.of(0.5, -1), c: Int32Array.of(-7), d: new Uint16Array(0) });
});

test("base64 becomes bytes", () => {
  assert.deepEqual(new Uint8Array(bytesOf("AAH/")), Uint8Array.of(0, 1, 255));
});
