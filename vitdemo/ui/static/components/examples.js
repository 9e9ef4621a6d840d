// A click on a picture, or Enter on it, tells Python its name.
export default function mount({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const picture = event.target.closest("button[data-name]");
    if (picture) trigger("select", { name: picture.dataset.name });
  });
}
