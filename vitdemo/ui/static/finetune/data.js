// The photos' classes: renamed or left out, taken as splits, and single photos of them left out.
import { NO_ANSWER, rpc } from "../lib/rpc.js";

// Hears the classes, which new photos replace. `session` gives the session's id; `fail` tells what went wrong; `changed` is called when
// other photos or classes would be learned than before.
export function hearData(box, session, fail, changed) {
  const $ = (selector) => box.querySelector(selector);

  // Renames classes, or takes folders as splits; without either, all changes are undone.
  async function change(changes) {
    fail("");
    const answer = await rpc("finetune/change", { session: session(), ...changes });
    if (!answer || answer.error) fail(answer?.error || NO_ANSWER);
    changed();
  }

  // A class's photos, to leave single ones out. The classes are counted anew when the list is closed.
  let photosChanged = false;
  async function showPhotos(label) {
    const answer = await rpc("finetune/photos", { session: session(), label });
    if (!answer?.html) return fail(answer?.error || NO_ANSWER);
    const list = $(".class-photos");
    list.innerHTML = answer.html; // from our own template, which escapes
    list.hidden = false;
    list.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  async function leaveOut(photo) {
    const answer = await rpc("finetune/without", { session: session(), number: Number(photo.dataset.number) });
    if (!answer || answer.error) return fail(answer?.error || NO_ANSWER);
    photo.setAttribute("aria-pressed", photo.getAttribute("aria-pressed") !== "true");
    photosChanged = true;
  }
  function closePhotos() {
    $(".class-photos").hidden = true;
    if (photosChanged) changed();
    photosChanged = false;
  }

  box.addEventListener("change", (event) => {
    const { old, folder } = event.target.dataset;
    const value = event.target.value.trim();
    if (folder !== undefined) change({ folders: { [folder]: value } });
    else if (old !== undefined && value !== old) change({ names: { [old]: value } });
  });
  box.addEventListener("click", (event) => {
    const of = (selector) => event.target.closest(selector);
    if (of(".undo")) change({});
    else if (of(".leave-out")) change({ names: { [of(".leave-out").dataset.old]: "" } });
    else if (of("[data-photos]")) showPhotos(of("[data-photos]").dataset.photos);
    else if (of(".photos-close")) closePhotos();
    else if (of(".one-photo")) leaveOut(of(".one-photo"));
  });
}
