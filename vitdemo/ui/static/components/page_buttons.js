// The header's switch between light and dark, remembered in this browser. Its tour is page/tour/tour.js.
export default function mount({ element }) {
  element.addEventListener("click", (event) => {
    if (!event.target.closest("[data-does=theme]")) return;
    localStorage.setItem("vitdemo-theme", document.body.classList.toggle("dark") ? "dark" : "light");
  });
}
