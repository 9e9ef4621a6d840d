// The chip of the loaded model: opens into what is to say of it, closes like a menu, and tries again where the model could not be had.
export default function mount({ element, trigger }) {
  const close = () => element.querySelector("details")?.removeAttribute("open");
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-does=retry]")) close(), trigger("select", {});
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !element.querySelector("details[open]")) return;
    close();
    element.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => element.contains(/** @type {Node} */ (event.target)) || close());
}
