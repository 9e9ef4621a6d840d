// The exported model beside its original: the card goes when it is closed.
export default function mount({ element, trigger }) {
  element.addEventListener("click", (event) => {
    if (event.target.closest(".close-trial")) trigger("select", {});
  });
}
