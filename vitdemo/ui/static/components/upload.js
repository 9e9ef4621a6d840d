// Photos on their way to the server: chosen or dropped files, with the names of their folders.
//
// The script after this one brings give(named, input), which takes what was given, [[name, file], …], by an input, or dropped.
const limits = props.value.limits;
const drop = $(".drop");
const LARGE = 5e6; // bytes from which on people see them go

async function filesBelow(entry, path = "") {
  if (entry.isFile) return [[path + entry.name, await new Promise((done, no) => entry.file(done, no))]];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((done, no) => reader.readEntries(done, no)); // a hundred at a time
    if (!part.length) return found;
    for (const each of part) found.push(...(await filesBelow(each, `${path}${entry.name}/`)));
  }
}

const isZip = (name) => name.toLowerCase().endsWith(".zip");
const isPhoto = (name) => !/(^|\/)(\.|__MACOSX)/.test(name) && limits.suffixes.some((each) => name.toLowerCase().endsWith(each));

// Why these files can't be taken, in a sentence; nothing where they can.
function refusal(files) {
  if (files.length > limits.photos) {
    return (
      `These are ${files.length.toLocaleString("en")} photos, and the limit here is ${limits.photos.toLocaleString("en")}: choose fewer, ` +
      `or run “python -m vitdemo ${limits.command} FOLDER” on the command line, which has no limit.`
    );
  }
  return files.length && !files.some(fits) ? `${tooLarge(files[0])}: save a smaller copy of it.` : "";
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

// The server's answer to a form; `heard` is told the bytes that have gone. (fetch can't tell.)
function post(form, signal, heard) {
  return new Promise((done, no) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", `${api}/upload`);
    request.upload.addEventListener("progress", (event) => heard(event.loaded));
    request.addEventListener("load", () => (request.status === 200 ? done(JSON.parse(request.responseText)) : no(new Error(refused(request)))));
    request.addEventListener("error", () => no(new Error("The connection broke off: check it and give the photos again.")));
    signal.addEventListener("abort", () => no(signal.reason) || request.abort());
    request.send(form);
  });
}

const most = (name) => (isZip(name) ? limits.zipMb : limits.mb);
const fits = ([name, file]) => file.size <= most(name) * 1024 * 1024;
const tooLarge = ([name]) => `“${name}” is larger than ${most(name)} MB`;

// What to say of files that `send` leaves behind; nothing where it takes all.
function leftOut(files) {
  const large = files.filter((each) => !fits(each));
  if (!large.length) return "";
  return large.length === 1 ? `${tooLarge(large[0])} and is left out.` : `${tooLarge(large[0])}: it and ${large.length - 1} more are left out.`;
}

// Where the files lie on the server, [[name, path], …]; `told` hears in words how far it is, and the share of the bytes.
async function send(given, signal, told) {
  const files = given.filter(fits);
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
    while (sent.length + part.length < files.length && part.length < 50 && bytes < 16e6) {
      const each = files[sent.length + part.length];
      form.append("files", each[1]);
      part.push(each);
      bytes += each[1].size;
    }
    const paths = await post(form, signal, tell);
    paths.forEach((path, index) => sent.push([part[index][0], path]));
    gone += bytes;
  }
  return sent;
}

for (const input of element.querySelectorAll(".pick")) {
  input.addEventListener("change", () => {
    const files = [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
    input.value = "";
    if (files.length) give(files, input);
  });
}
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
  const entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) found.push(...(await filesBelow(entry)));
  if (found.length) give(found);
});
