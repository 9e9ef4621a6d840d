// Which files are taken, and what is said of the others.
import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.window = {}; // rpc.js reads Gradio's address there
const { isZip, Uploads } = await import("../../vitdemo/ui/static/lib/upload.js");

const MB = 1024 * 1024;
const uploads = new Uploads({ photos: 3, mb: 1, zipMb: 2, suffixes: [".jpg", ".png"], command: "classify" });
const named = (name, size = 1) => [name, { size }];

test("photos are told by their suffix, else by their content, and hidden files are none", async () => {
  const file = (text) => new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))]);
  const taken = ["a/B.PNG", "a/b.jpg_large", "a/c.jpg?w=640", "a/d.zip"].map((name) => [name, file("")]);
  const contents = ["\xff\xd8\xff\xe0", "\x89PNG", "RIFF\0\0\0\0WEBP", "\0\0\0\x18ftypheic", "\0\0\0\x18ftypmsf1\0\0\0\0hevcmif1", "\0\0\0\x18ftypisom\0\0\0\0avif", "P6\n1 1", "II*\0"];
  const untold = contents.map((text, number) => [`b/${number}`, file(text)]);
  const video = ["a/film.mp4", file("\0\0\0\x18ftypisom\0\0\0\0mp42avc1")];
  const others = ["a/a.txt", "a/x.jpg.txt", "a/.hidden.png", "__MACOSX/a.png", "a/__MACOSX/b.png"].map((name) => [name, file("PNG P6")]).concat([video]);
  const alone = [["a.txt", file("")]];
  const sorted = await uploads.sort([...taken, ...others, ...untold, ...alone]);
  assert.deepEqual(sorted.files, [...taken, ...untold, ...alone]);
  assert.deepEqual(sorted.others, others.map(([name]) => name));
  assert.deepEqual(await uploads.sort(alone, true), { files: [], others: ["a.txt"] });
  assert.deepEqual(["a.zip", "a.ZIP", "zip"].map(isZip), [true, true, false]);
});

test("a file that can't be read is no photo", async () => {
  const unreadable = { slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException("", "NotReadableError")) }) };
  const named = [["a/1.jpg", new Blob(["x"])], ["a/2.jpg", unreadable], ["a/3", unreadable], ["4.zip", unreadable], ["a/5.jpg", null]];
  assert.deepEqual(await uploads.sort(named), { files: [named[0]], others: ["a/2.jpg", "a/3", "4.zip", "a/5.jpg"] });
});

test("too many photos are refused, with the command that takes more", () => {
  assert.equal(uploads.refusal([1, 2, 3].map((number) => named(`${number}.jpg`))), "");
  const said = uploads.refusal([1, 2, 3, 4].map((number) => named(`${number}.jpg`)));
  assert.match(said, /^These are 4 photos, and the limit here is 3: .*“python -m vitdemo classify FOLDER”/);
});

test("large files are left out and named, each kind by its own limit", () => {
  const files = [named("a.jpg", MB), named("b.jpg", MB + 1), named("c.zip", 2 * MB), named("d.zip", 2 * MB + 1)];
  assert.equal(uploads.leftOut(files), "“b.jpg” is larger than 1 MB: it and 1 more are left out.");
  assert.equal(uploads.leftOut(files.slice(0, 3)), "“b.jpg” is larger than 1 MB and is left out.");
  assert.equal(uploads.leftOut([files[0], files[2]]), "");
  assert.equal(uploads.refusal([files[1]]), "“b.jpg” is larger than 1 MB: save a smaller copy of it.");
});
