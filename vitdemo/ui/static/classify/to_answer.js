// Once a photo is given: it is on show before its answer is there. On a phone the answer lies below it, out of sight: bring it there.
(photo) => {
  const view = document.querySelector("#view .view");
  if (!photo || view?.dataset.path === photo.path) return; // its answer is there already
  view?.classList.add("stale");
  const answer = document.querySelector("#answer");
  if (matchMedia("(max-width: 700px)").matches && answer.getBoundingClientRect().top > innerHeight / 2) {
    answer.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
}
