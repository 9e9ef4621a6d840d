// Open the Attention tab, as a click on it would.
() => {
  const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[role=tab]")]);
  const tabs = all.filter((each) => each.textContent.trim() === "Attention");
  (tabs.find((each) => each.offsetParent) || tabs[0])?.click();
}
