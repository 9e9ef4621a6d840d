// Before the first paint of the page: the theme chosen last time, unless the address asks for one; from then on, what Gradio says of a lost
// or refused connection in words that help, and no torn picture where a browser can't show a photo that the app may well read.
() => {
  const asked = new URLSearchParams(location.search).get("__theme");
  const kept = localStorage.getItem("vitdemo-theme");
  if (!asked && kept) document.body.classList.toggle("dark", kept === "dark");

  const shown = (event) => event.target.closest?.("#photo img") && event.target.classList.toggle("torn", event.type === "error");
  for (const kind of ["error", "load"]) document.addEventListener(kind, shown, true);

  // A photo that comes before the script that hears of it must not take the page's place.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());

  // Gradio's stand-in for an EventSource warns whenever it is closed, which is after each photo from the camera.
  const { warn } = console;
  console.warn = (...said) => said[0] === "Method not implemented." || warn(...said);

  // Gradio scrolls a list that opens before the list is in its place, and so to its end: from its top, only as far as what is selected.
  document.addEventListener("focusin", ({ target }) => {
    if (target.getAttribute?.("role") !== "combobox") return;
    requestAnimationFrame(() => {
      const list = document.getElementById(target.getAttribute("aria-controls"));
      list?.scrollTo(0, 0);
      list?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    });
  });

  const WORDS = [
    [/^Connection errored out/, () => "The server does not answer: see that this device is online, then try again."],
    [/^Connection to the server was lost/, () => "The connection is lost. This page goes on as soon as it is back."],
    [/^HTTP \d+: ({.*})$/s, (found) => JSON.parse(found[1]).detail], // an upload that was refused
    [/^HTTP \d+: ([^<{].*)$/s, (found) => found[1]],
  ];
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll("[data-testid=toast-text]")) {
      const said = toast.textContent.trim();
      for (const [pattern, better] of WORDS) if (pattern.test(said)) toast.textContent = better(said.match(pattern));
    }
  }).observe(document.body, { childList: true, subtree: true });
}
