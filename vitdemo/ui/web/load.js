// Before the first paint of the page: the theme chosen last time, unless the address asks for one.
() => {
  const asked = new URLSearchParams(location.search).get("__theme");
  const kept = localStorage.getItem("vitdemo-theme");
  if (!asked && kept) document.body.classList.toggle("dark", kept === "dark");
}
