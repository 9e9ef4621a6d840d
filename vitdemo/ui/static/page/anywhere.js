// Photos dropped or pasted anywhere on the page, or picked for the current photo, go to where the open tab takes them: one becomes the
// current photo; several, a folder or a zip go to the gallery of the open tab, else to Many photos.
import { finders, openTab, pause, say } from "../lib/dom.js";
import { droppedFiles, GIVEN, isZip, sendPhoto } from "../lib/upload.js";
import { holdGalleries } from "./hold.js";

const OWN = ".drop, .att-frame"; // they hear for themselves
const PATIENCE = 10_000; // milliseconds for a tab to be there
const ONE = "Drop a photo anywhere. Several, a folder or a zip go to Many photos.";
const MANY = "Drop photos, a folder or a zip anywhere.";

export default function mount({ element, trigger }) {
  const { $ } = finders(element);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const veil = (text) => {
    $(".veil").hidden = !text;
    $(".veil p").textContent = text;
  };

  // The open tab's place for many photos; nothing where it takes one.
  const place = () => [...document.querySelectorAll(".drop")].find((box) => /** @type {HTMLElement} */ (box).offsetParent);

  async function one(file) {
    veil("Uploading the photo …");
    try {
      trigger("upload", { path: await sendPhoto(file), name: file.name });
    } catch (error) {
      say($(".veil-said"), error.message);
    }
    veil("");
  }

  async function many(named) {
    if (!place()) {
      openTab("Classify");
      openTab("Many photos");
    }
    for (const until = Date.now() + PATIENCE; (!place() || place().closest("[inert]")) && Date.now() < until; ) await pause(50);
    place()?.dispatchEvent(new CustomEvent(GIVEN, { detail: named }));
  }

  async function give(named) {
    say($(".veil-said"), "");
    if (!named.length) return;
    if (place() || named.length > 1 || isZip(named[0][0]) || named[0][0].includes("/")) await many(named);
    else await one(named[0][1]);
  }

  const listeners = {
    click: (event) => {
      const asked = event.target.closest?.("[data-presses]");
      const all = asked ? [...asked.closest(".html-container").querySelectorAll(asked.dataset.presses)] : [];
      all.find((button) => button.offsetParent)?.click(); // the sample's own button
    },
    dragenter: (event) => hasFiles(event) && veil(place() ? MANY : ONE),
    dragleave: (event) => event.relatedTarget || veil(""),
    dragend: () => veil(""),
    drop: async (event) => {
      veil("");
      if (!hasFiles(event) || event.target.closest?.(OWN)) return;
      event.preventDefault();
      event.stopImmediatePropagation(); // Gradio's own photo box takes less, and says less
      give(await droppedFiles(event));
    },
    change: (event) => {
      if (!event.target.matches?.("#photo input[type=file]")) return;
      event.stopImmediatePropagation(); // Gradio's own upload refuses other files in words of its own, and complains in the console
      const files = [...event.target.files];
      event.target.value = "";
      give(files.map((file) => [file.name, file]));
    },
    paste: (event) => {
      const files = [...(event.clipboardData?.files || [])];
      if (!files.length || event.target.closest?.("input, textarea")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      give(files.map((file) => [file.name, file]));
    },
  };
  holdGalleries();
  for (const [kind, heard] of Object.entries(listeners)) {
    const hear = (event) => (element.isConnected ? heard(event) : document.removeEventListener(kind, hear, true));
    document.addEventListener(kind, hear, true);
  }
}
