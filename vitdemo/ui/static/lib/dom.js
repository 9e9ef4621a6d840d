// Small parts that every tab's script needs.

export const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
export const button = (className, text = "") => Object.assign(make("button", className, text), { type: "button" });
export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// The selectors of one component: $ finds the first element, $$ all.
/** @param {ParentNode} element @returns {{$: (selector: string) => any, $$: (selector: string) => any[]}} */
export const finders = (element) => ({ $: (selector) => element.querySelector(selector), $$: (selector) => [...element.querySelectorAll(selector)] });

// Calls draw() for what a component shows, and again for other HTML in its place, which Gradio puts into the same elements where it can.
export function rendered(element, draw) {
  let shown = "";
  const look = () => {
    const made = element.querySelector("[data-made]")?.dataset.made;
    if (made && made !== shown) draw();
    shown = made;
  };
  new MutationObserver(look).observe(element, { childList: true, subtree: true, attributeFilter: ["data-made"] });
  look();
}

// Shows a sentence in a box, and hides the box without one.
export function say(box, text) {
  box.hidden = !text;
  box.textContent = text || "";
}

// Shows sentences, one a line, and hides the box without any.
export function list(box, sentences = []) {
  box.hidden = !sentences.length;
  if ([...box.children].map((line) => line.textContent).join("\n") === sentences.join("\n")) return; // else they would be read aloud again
  box.replaceChildren(...sentences.map((sentence) => make("p", "note", sentence)));
}

// Puts a text on the clipboard and says so in a box; below it the text itself where the browser keeps the clipboard closed.
export async function copy(text, said, done) {
  const old = said.nextElementSibling;
  if (old?.matches(".to-copy")) old.remove();
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = done;
  } catch {
    const box = Object.assign(make("textarea", "to-copy"), { readOnly: true, rows: 12, value: text }); // the clipboard needs https or this machine
    box.setAttribute("aria-label", "Text to copy");
    said.after(box);
    box.focus();
    box.select();
    said.textContent = "Mark the lines and copy them: the browser keeps the clipboard closed here.";
  }
}

// A line of a list for each class: its name, its probability as `text` gives it, and a bar.
export function barLines(rows, text) {
  return rows.map(({ name, probability }) => {
    const line = make("li");
    const bar = make("div", "bar");
    bar.append(make("div"));
    bar.firstElementChild.style.width = `${100 * probability}%`;
    line.append(make("span", "", name), make("span", "", text(probability)), bar);
    return line;
  });
}

// A progress bar's share, from 0 to 1.
export function fill(bar, share) {
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  bar.firstElementChild.style.width = `${100 * share}%`;
}

// Opens a tab, as a click on it would.
export function openTab(name) {
  const tabs = tabsOf(name);
  (tabs.find((tab) => tab.offsetParent) || tabs[0])?.click();
}

// The buttons of a tab: one on the row, and one in its menu where the row is too narrow.
export function tabsOf(name) {
  const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[role=tab]")]);
  return all.filter((tab) => tab.textContent.trim() === name);
}

// Radio buttons in a row, their values in data-<attribute>: one stop for Tab, arrow keys move, as in a native group. Returns a function that
// sets the value in silence.
export function radios(group, choose, attribute = "value") {
  const all = [...group.querySelectorAll("[role=radio]")];
  const set = (value) => {
    for (const radio of all) {
      radio.setAttribute("aria-checked", radio.dataset[attribute] === value);
      radio.tabIndex = radio.dataset[attribute] === value ? 0 : -1;
    }
  };
  const pick = (radio) => {
    set(radio.dataset[attribute]);
    choose(radio.dataset[attribute]);
  };
  for (const radio of all) {
    radio.addEventListener("click", () => pick(radio));
    radio.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const free = all.filter((other) => !other.disabled && !other.hidden);
      const next = free[(free.indexOf(radio) + step + free.length) % free.length];
      next.focus();
      pick(next);
    });
  }
  set(all.find((radio) => radio.getAttribute("aria-checked") === "true")?.dataset[attribute]);
  return set;
}
