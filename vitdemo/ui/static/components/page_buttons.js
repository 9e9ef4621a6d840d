// The buttons of the header: light and dark in turn, remembered in this browser, and the tour.
import { want } from "../lib/wish.js";

export default function mount({ element }) {
  const does = {
    theme: () => localStorage.setItem("vitdemo-theme", document.body.classList.toggle("dark") ? "dark" : "light"),
    tour: () => want({ tour: true }),
  };
  element.addEventListener("click", (event) => does[event.target.closest("[data-does]")?.dataset.does]?.());
}
