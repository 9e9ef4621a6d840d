// Once a photo is given: it is on show before its answer is there. On a phone it and its answer may be out of sight: bring them there.
(photo) => {
  const view = /** @type {HTMLElement | null} */ (document.querySelector("#view .view"));
  if (!photo || view?.dataset.path === photo.path) return; // its answer is there already
  view?.classList.add("stale");
  const [picture, answer] = ["#photo", "#answer"].map((name) => document.querySelector(name).getBoundingClientRect());
  if (matchMedia("(max-width: 700px)").matches && (picture.top < 0 || answer.top > 0.8 * innerHeight)) {
    document.querySelector("#view").scrollIntoView({ block: "start" }); // where the photo will be
  }
}
