// Maps of large collections that the operator keeps: each is a page of its own, shown in a frame that can reach nothing of this page.
for (const choice of $$("[data-kept]")) {
  choice.addEventListener("click", async () => {
    const box = $(".emb-kept-page");
    const open = choice.getAttribute("aria-pressed") === "true";
    for (const each of $$("[data-kept]")) each.setAttribute("aria-pressed", "false");
    $(".emb-kept-problem").hidden = true;
    box.replaceChildren();
    box.hidden = true;
    if (open) return;
    choice.setAttribute("aria-pressed", "true");
    box.hidden = false;
    box.append(make("p", "map-why", "Fetching the map …"));
    const answer = (await rpc("embeddings/kept", { number: Number(choice.dataset.kept) })) || { error: GONE };
    if (choice.getAttribute("aria-pressed") !== "true") return;
    if (answer.error) {
      choice.setAttribute("aria-pressed", "false");
      box.hidden = true;
      $(".emb-kept-problem").hidden = false;
      $(".emb-kept-problem").textContent = answer.error;
      return;
    }
    const theme = document.body.classList.contains("dark") ? "dark" : "light";
    const srcdoc = answer.page.replace("<html ", `<html data-theme="${theme}" `);
    const frame = Object.assign(document.createElement("iframe"), { title: `Map: ${choice.textContent}`, srcdoc });
    frame.sandbox = "allow-scripts";
    box.replaceChildren(frame);
  });
}
