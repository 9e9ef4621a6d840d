// Once a photo is given, it is on show, in Gradio's photo box, before its answer is there.
(photo) => {
  const view = /** @type {HTMLElement | null} */ (document.querySelector("#view .view"));
  if (!photo || view?.dataset.path === photo.path) return; // its answer is there already
  view?.classList.add("stale");
  /** @type {HTMLElement} */ (document.querySelector("#view")).dataset.awaited = "photo";
}
