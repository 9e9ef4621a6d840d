// Another photo in place of the one on show: a file, the camera, or none.
import { finders, say } from "../lib/dom.js";
import { sendPhoto } from "../lib/upload.js";

export default function mount({ element, trigger }) {
  const { $ } = finders(element);
  const gradio = (name) => /** @type {HTMLElement} */ (document.querySelector(`#photo [aria-label="${name}"]`));
  const does = {
    camera: () => {
      document.querySelector("#view .view")?.classList.add("stale"); // Gradio's photo box, which has the camera, comes in its place
      gradio("Capture from camera").click();
    },
    remove: () => {
      gradio("Remove Image")?.click();
      if (!gradio("Upload file").classList.contains("selected")) gradio("Upload file").click(); // the camera is off
    },
  };
  element.addEventListener("click", (event) => does[event.target.closest("[data-does]")?.dataset.does]?.());
  const pick = async () => {
    const photo = $(".pick").files[0];
    $(".pick").value = "";
    if (!photo) return;
    say($(".choose-said"), "");
    try {
      trigger("upload", { path: await sendPhoto(photo), name: photo.name });
    } catch (error) {
      say($(".choose-said"), error.message);
    }
  };
  $(".pick").addEventListener("change", pick);
  pick(); // what was picked while the module was on its way
}
