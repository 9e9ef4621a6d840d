// The exported model beside its original: the card goes when it is closed.
element.addEventListener("click", (event) => {
  if (event.target.closest(".close-trial")) trigger("select", {});
});
