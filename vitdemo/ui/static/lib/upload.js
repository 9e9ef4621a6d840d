// Photos on their way to the server: picked or dropped files, with the names of their folders.
import { count } from "./format.js";
import { api, NO_ANSWER } from "./rpc.js";

export const GIVEN = "vitdemo-files"; // tells a box of class `drop` of files, [[name, file], …]
const LARGE = 5e6; // bytes from which on people see them go
const MOST_NAMED = 2000; // names of other files that the server is told
const HIDDEN = /(^|\/)(\.|__MACOSX)/;
// How files of the accepted formats begin: as hexadecimal digits; and, where the box is one of videos too, the brands in it
const BEGINNING = /^(ffd8ff|89504e47|47494638|424d|4949(2a|2b)00|4d4d00(2a|2b)|52494646.{8}57454250|0000000c6a502020|ff4fff51|503[1-6](09|0a|0d|20))/;
const BRANDS = /^.{4}ftyp(.{4})*(avi[fs]|hei[cmsx]|hev[cmsx]|mif1|msf1)/s;
const HEAD = 64; // bytes that tell what a file is
const PART_FILES = 50; // in one request
const PART_BYTES = 16e6;

export const isZip = (name) => name.toLowerCase().endsWith(".zip");

// The first bytes of a file; null where it can't be read.
async function headOf(file) {
  try {
    return new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  } catch {
    return null;
  }
}

function beginsAsPhoto(bytes) {
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return BEGINNING.test(digits) || BRANDS.test(String.fromCharCode(...bytes));
}

/** @typedef {{photos: number, mb: number, zipMb: number, suffixes: string[], command: string}} Limits of components/gallery_upload.py */

// What the server takes, and how it gets there.
export class Uploads {
  /** @param {Limits} limits */
  constructor(limits) {
    this.limits = limits;
    const suffixes = limits.suffixes.map((suffix) => `\\${suffix}`).join("|");
    this.suffix = new RegExp(`(?:${suffixes})(?:$|[^a-z0-9.\\s/][^./]*$)`, "i"); // of a download too: a.jpg_large, a.jpg?w=640
  }

  // Of what was given, [[name, file], …]: the photos and zips, which are sent, as `files`, and the names of the `others`.
  // A file given by itself is taken whatever it is, unless `inFolders`: then its reason is told. A file that can't be read is none.
  async sort(named, inFolders = false) {
    const taken = await Promise.all(
      named.map(async ([name, file]) => {
        const head = await headOf(file);
        if (!head) return false;
        if (isZip(name) || (!inFolders && !name.includes("/"))) return true;
        return !HIDDEN.test(name) && (this.isNamedAsPhoto(name) || beginsAsPhoto(head));
      }),
    );
    return {
      files: named.filter((_, index) => taken[index]),
      others: named.flatMap(([name], index) => (taken[index] ? [] : [name])).slice(0, MOST_NAMED),
    };
  }

  isNamedAsPhoto(name) {
    return this.suffix.test(name);
  }

  most(name) {
    return isZip(name) ? this.limits.zipMb : this.limits.mb;
  }

  fits([name, file]) {
    return file.size <= this.most(name) * 1024 * 1024;
  }

  tooLarge([name]) {
    return `“${name}” is larger than ${this.most(name)} MB`;
  }

  // Why these files, [[name, file], …], can't be taken, in a sentence; nothing where they can.
  refusal(files) {
    const most = this.limits.photos;
    if (files.length > most) {
      return (
        `These are ${count(files.length, "photo")}, and the limit here is ${most.toLocaleString("en")}: choose fewer, ` +
        `or run “python -m vitdemo ${this.limits.command} FOLDER” on the command line, which has no limit.`
      );
    }
    return files.length && !files.some((file) => this.fits(file)) ? `${this.tooLarge(files[0])}: save a smaller copy of it.` : "";
  }

  // What to say of files that `send` leaves behind; nothing where it takes all.
  leftOut(files) {
    const large = files.filter((file) => !this.fits(file));
    if (!large.length) return "";
    return large.length === 1 ? `${this.tooLarge(large[0])} and is left out.` : `${this.tooLarge(large[0])}: it and ${large.length - 1} more are left out.`;
  }

  // Where the files lie on the server, [[name, path], …]; `told` hears in words how far it is, and the share of the bytes.
  async send(given, signal, told) {
    const files = given.filter((file) => this.fits(file));
    const total = files.reduce((sum, [, file]) => sum + file.size, 0);
    const sent = [];
    let gone = 0;
    const tell = (now) => {
      const megabytes = total < LARGE ? "" : `, ${Math.floor(Math.min(total, gone + now) / 1e6)} of ${Math.ceil(total / 1e6)} MB`;
      told(`Uploading: ${sent.length} of ${files.length} files${megabytes}`, Math.min(1, (gone + now) / Math.max(1, total)));
    };
    while (sent.length < files.length) {
      tell(0);
      const form = new FormData();
      const part = [];
      let bytes = 0;
      while (sent.length + part.length < files.length && part.length < PART_FILES && bytes < PART_BYTES) {
        const named = files[sent.length + part.length];
        form.append("files", named[1]);
        part.push(named);
        bytes += named[1].size;
      }
      const paths = await post(form, signal, tell);
      paths.forEach((path, index) => sent.push([part[index][0], path]));
      gone += bytes;
    }
    return sent;
  }
}

// The server's answer to a form; `heard` is told the bytes that have gone. (fetch can't tell.)
function post(form, signal, heard) {
  return new Promise((done, no) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", `${api}/upload`);
    request.upload.addEventListener("progress", (event) => heard(event.loaded));
    request.addEventListener("load", () => (request.status === 200 ? done(JSON.parse(request.responseText)) : no(new Error(refused(request)))));
    request.addEventListener("error", () => no(new Error("The connection broke off: check it and give the photos again.")));
    signal.addEventListener("abort", () => {
      no(signal.reason);
      request.abort();
    });
    request.send(form);
  });
}

// Why the server takes no files, in its own sentence where it has one.
function refused(request) {
  if (request.getResponseHeader("content-type")?.startsWith("text/plain")) return request.responseText;
  try {
    return JSON.parse(request.responseText).detail;
  } catch {
    return request.status === 413 ? "A file is too large for this server." : `The server answered ${request.status}.`;
  }
}

// Uploads one photo. The answer is its path there; an error has a sentence.
export async function sendPhoto(file) {
  const form = new FormData();
  form.append("files", file);
  const answer = await fetch(`${api}/upload`, { method: "POST", body: form }).catch(() => null);
  if (!answer) throw new Error(NO_ANSWER);
  if (answer.ok) return (await answer.json())[0];
  if (answer.headers.get("content-type")?.startsWith("text/plain")) throw new Error(await answer.text());
  const why = answer.status === 413 ? "it is too large for this server" : `the server answered ${answer.status}`;
  throw new Error(`The photo could not be uploaded, ${why}: try another one, or check the connection.`);
}

// The files of a drop, [[name, file], …], with the names of their folders. To be called before the event is over.
export async function droppedFiles(event) {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() || item.getAsFile()).filter(Boolean);
  const found = [];
  for (const entry of entries) found.push(...(entry instanceof File ? [[entry.name, entry]] : await filesBelow(entry)));
  return found;
}

// Hears what is picked with the inputs of class `pick`, or dropped on the box of class `drop`: give([[name, file], …], input).
export function hearFiles(element, give) {
  for (const input of element.querySelectorAll(".pick")) {
    const take = () => {
      const files = [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
      input.value = "";
      if (files.length) give(files, input);
    };
    input.addEventListener("change", take);
    take(); // what was picked while this script was on its way
  }
  const drop = element.querySelector(".drop");
  for (const kind of ["dragover", "dragenter"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const found = await droppedFiles(event);
    if (found.length) give(found);
  });
  drop.addEventListener(GIVEN, (event) => give(/** @type {CustomEvent} */ (event).detail)); // of a drop elsewhere on the page
}

async function filesBelow(entry, path = "") {
  if (entry.isFile) return [[path + entry.name, await new Promise((done) => entry.file(done, () => done(null)))]]; // null can't be read
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((done, no) => reader.readEntries(done, no)); // a hundred at a time
    if (!part.length) return found;
    for (const below of part) found.push(...(await filesBelow(below, `${path}${entry.name}/`)));
  }
}
