// The tester in a result: a photo that is picked, dropped or taken by the camera, under the fine-tuned model and the one before.
import { barLines, make, say } from "../lib/dom.js";
import { percent } from "../lib/format.js";
import { NO_ANSWER, rpc } from "../lib/rpc.js";
import { sendPhoto } from "../lib/upload.js";

const QUALITY = 0.92; // of the camera's JPEG

// Hears a result's tester, which new results replace; `session` gives the session's id.
export function hearTester(result, session) {
  let camera = null;
  let newest = 0;
  const $ = (selector) => result.querySelector(selector);

  async function test(photo) {
    const mine = ++newest;
    say($(".tester-problem"), "");
    $(".tested").setAttribute("aria-busy", "true");
    try {
      const answer = await rpc("finetune/test", { session: session(), path: await sendPhoto(photo), name: photo.name });
      if (mine !== newest) return;
      if (!answer || answer.error) throw new Error(answer?.error || NO_ANSWER);
      show(answer);
    } catch (error) {
      if (mine !== newest || !$(".tester-problem")) return;
      say($(".tester-problem"), error.message);
      $(".tested").hidden = true; // it is about the photo before
    }
    $(".tested")?.removeAttribute("aria-busy");
  }

  function show({ picture, now, before, unfamiliar }) {
    const both = make("div", "tested-both");
    both.append(list("Your model", now, "None of its classes."), list("Before", before, "It gives features, no classes."));
    const said = make("div");
    said.append(both);
    if (unfamiliar) said.prepend(make("p", "note", `Unlike anything it was trained on${now.length ? ": its answer is a guess" : ", which it is set to refuse"}.`));
    $(".tested").replaceChildren(Object.assign(new Image(), { src: picture, alt: "The photo" }), said);
    $(".tested").hidden = false;
  }

  function list(title, rows, none) {
    const part = make("div");
    const answers = make("ol");
    answers.append(...barLines(rows, percent));
    part.append(make("h3", "", title), rows.length ? answers : make("p", "key", none));
    return part;
  }

  function off() {
    camera?.getTracks().forEach((track) => track.stop());
    camera = null;
    if ($(".tester-camera")) $(".tester-camera").hidden = true;
  }

  async function on() {
    say($(".tester-problem"), "");
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      return say($(".tester-problem"), "There is no camera that this page may use: allow it in the browser, or pick a photo.");
    }
    $("video").srcObject = camera;
    $(".tester-camera").hidden = false;
  }

  function shoot() {
    const video = $("video");
    const canvas = Object.assign(make("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((data) => data && test(new File([data], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", QUALITY);
  }

  result.addEventListener("change", (event) => {
    if (event.target.classList.contains("try") && event.target.files[0]) test(event.target.files[0]);
    if (event.target.classList.contains("try")) event.target.value = "";
  });
  result.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.classList.contains("camera")) on();
    if (button?.classList.contains("camera-off")) off();
    if (button?.classList.contains("shoot")) shoot();
  });
  for (const kind of ["dragover", "drop"]) {
    result.addEventListener(kind, (event) => {
      if (!event.target.closest(".tester")) return;
      event.preventDefault();
      event.stopPropagation();
      if (kind === "drop" && event.dataTransfer.files[0]) test(event.dataTransfer.files[0]);
    });
  }
  return off;
}
