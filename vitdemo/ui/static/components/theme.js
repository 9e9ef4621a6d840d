// The theme button: light and dark in turn, remembered in this browser.
() => {
  const dark = document.body.classList.toggle("dark");
  localStorage.setItem("vitdemo-theme", dark ? "dark" : "light");
}
