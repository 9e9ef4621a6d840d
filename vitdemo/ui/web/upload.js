// Photos on their way to the server: chosen or dropped files, with the names of their folders.
//
// The script after this one brings give(named, input), which takes what was given, [[name, file], …], by an input, or dropped.
const $ = (selector) => element.querySelector(selector);
const limits = props.value.limits;
const api = (window.gradio_config?.root || "") + (window.gradio_config?.api_prefix || "/gradio_api");
const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
const drop = $(".drop");

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
async function refused(answer) {
  const text = await answer.text();
  if (answer.headers.get("content-type")?.startsWith("text/plain")) return text;
  try {
    return JSON.parse(text).detail;
  } catch {
    return answer.status === 413 ? "A file is too large for this server." : `The server answered ${answer.status}.`;
  }
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

// Where the files lie on the server, [[name, path], …]; `told` hears how many have arrived.
async function send(given, signal, told) {
  const files = given.filter(fits);
  const sent = [];
  while (sent.length < files.length) {
    told(sent.length);
    const form = new FormData();
    const part = [];
    let bytes = 0;
    while (sent.length + part.length < files.length && part.length < 50 && bytes < 16e6) {
      const each = files[sent.length + part.length];
      form.append("files", each[1]);
      part.push(each);
      bytes += each[1].size;
    }
    const answer = await fetch(`${api}/upload`, { method: "POST", body: form, signal }).catch((error) => {
      throw signal.aborted ? error : new Error("The connection broke off: check it and give the photos again.");
    });
    if (!answer.ok) throw new Error(await refused(answer));
    (await answer.json()).forEach((path, index) => sent.push([part[index][0], path]));
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
