// A short tour for a room of people: each step sets the stage and says one thing.
import { picture, setDirection, setHead, setMethod } from "../controls.js";
import { startErase, test } from "../erase.js";
import { play, setLayer } from "../layers.js";
import { $, $$, calm, classes, columns, explorer, patches, rows, told, view } from "../state.js";
import { openHead } from "../heads/wall.js";

const tour = { step: -1 };

// The patch that speaks most for the answer, where that is known; else one in the middle.
const telling = () => {
  const values = classes.get(told.top[0]?.index)?.heats?.subarray(-patches());
  if (!values) return [rows() >> 1, columns() >> 1];
  const most = values.indexOf(Math.max(...values));
  return [Math.floor(most / columns()), most % columns()];
};
const STEPS = [
  {
    title: "The photo becomes patches",
    text: () =>
      `The model sees what lies inside the frame, cut into ${rows()} × ${columns()} patches. ` +
      "Each becomes a token; one more, CLS, gathers the answer.",
    show: () => {
      setMethod("cls");
      setHead("mean");
      $(".att-gridded").checked = true;
      $(".att-opacity").value = 0;
      setLayer(1);
    },
    at: ".att-stage",
  },
  {
    title: "It looks again in every layer",
    text: () =>
      `Bright is where CLS looks. Watch it go from everywhere to what matters, through ${told.layers} layers; ` +
      "the columns below say what the model would answer so far.",
    show: () => {
      setMethod("cls");
      $(".att-even").checked = true;
      setLayer(1);
      play(true);
    },
    at: ".att-stage",
  },
  {
    title: "Every patch asks its own question",
    text: () => "This patch is held: bright is what it looks at. Move over the photo to ask any other one.",
    show: () => {
      setMethod("cls");
      setDirection("looks-at");
      setLayer(Math.ceil(told.layers / 2));
      view.held = telling();
    },
    at: ".att-stage",
  },
  {
    title: "Many heads, many habits",
    text: () =>
      "Each layer looks through several heads at once. Some look next door, some across the photo. " +
      "Switch one off and see whether the answer needs it.",
    show: () => openHead(told.layers - 1, 0),
    at: ".att-wall",
  },
  {
    title: "Does the map tell the truth?",
    text: () =>
      "Turn the hottest patches grey and ask again. " +
      "If the answer falls faster than with random patches, the map shows what the model goes by.",
    show: () => {
      if (!told.top.length) return;
      setMethod("relevance");
      setLayer(told.layers);
      if (!test.curves.map) startErase();
    },
    at: ".att-erase",
  },
];

export function listen() {
  $(".att-tour-start").addEventListener("click", () => told && startTour());
  $(".att-tour-back").addEventListener("click", () => toStep(Math.max(0, tour.step - 1)));
  $(".att-tour-next").addEventListener("click", () => toStep(tour.step + 1 < STEPS.length ? tour.step + 1 : -1));
  $(".att-tour-end").addEventListener("click", () => toStep(-1));
  $(".att-tour").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    toStep(-1);
  });
}

export const startTour = () => toStep(0);

// Ends the tour, where one runs, and gives back what was on show.
export function endTour() {
  if (tour.step >= 0) toStep(-1);
}

const picked = () => [$(".att-opacity").value, $(".att-even").checked, $(".att-gridded").checked];

function toStep(step) {
  play(false);
  $$(".att-lit").forEach((part) => part.classList.remove("att-lit"));
  if (tour.step < 0) tour.kept = { ...view, picture: picked() }; // given back at the end
  view.hover = view.held = null;
  [$(".att-opacity").value, $(".att-even").checked, $(".att-gridded").checked] = step < 0 ? tour.kept.picture : [85, false, false];
  tour.step = step;
  explorer.classList.toggle("touring", step >= 0);
  $(".att-tour").hidden = step < 0;
  if (step >= 0) {
    const { title, text, show, at } = STEPS[step];
    show();
    $(at).classList.add("att-lit");
    $(at).scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    $(".att-tour-count").textContent = `${step + 1} of ${STEPS.length}`;
    $(".att-tour-title").textContent = title;
    $(".att-tour-text").textContent = text();
    $(".att-tour-back").disabled = step === 0;
    $(".att-tour-next").textContent = step === STEPS.length - 1 ? "Done" : "Next";
    $(".att-tour-title").focus({ preventScroll: true });
  } else {
    setMethod(tour.kept.method);
    setDirection(tour.kept.direction);
    setHead(tour.kept.head);
    setLayer(tour.kept.layer);
    view.held = tour.kept.held;
    $(".att-tour-start").focus();
  }
  picture();
}
