// Open the Attention tab, as a click on it would.
() => {
  const tabs = [...document.querySelectorAll("[role=tab]")].filter((each) => each.textContent.trim() === "Attention");
  (tabs.find((each) => each.offsetParent) || tabs[0])?.click();
}
