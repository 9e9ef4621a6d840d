// On a phone the answer lies below the photo, out of sight: bring it there once a photo was given.
(photo) => {
  const answer = document.querySelector("#answer");
  if (photo && matchMedia("(max-width: 700px)").matches && answer.getBoundingClientRect().top > innerHeight / 2) {
    answer.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
}
