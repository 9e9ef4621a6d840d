// The chip of the loaded model: opens into what is to say of it, closes like a menu, tries again where the model could not be had, and
// selects the precision.
export default function mount({ element, trigger }) {
  const close = () => element.querySelector("details")?.removeAttribute("open");
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-does=retry]")) close(), trigger("select", {});
  });
  element.addEventListener("change", (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (input.name !== "model-precision") return;
    close();
    const title = /** @type {HTMLInputElement | null} */ (document.querySelector("#model input"))?.value ?? "";
    trigger("select", { precision: input.value, title });
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !element.querySelector("details[open]")) return;
    close();
    element.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => element.contains(/** @type {Node} */ (event.target)) || close());
}
