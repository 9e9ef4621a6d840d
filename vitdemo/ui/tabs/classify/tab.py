"""One photo in the Classify tab: its top classes, and what the model saw of the photo."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components import examples, model_picker, preprocessing_panel
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.components.samples import note_on
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.photo_requests import Answer, PhotoRequests
from vitdemo.ui.templating import html, panel, percent, static_text

MAX_CLASSES = 20  # kept with each answer, so that the slider needs no second forward pass
TAB = "classify"  # id of the tab
UNCHANGED = (gr.skip(),) * 6  # keeps the status line, the answer, the view, the preprocessing note, the sizes and the kept answer
EMPTY_ANSWER = "Drop a photo, paste one, take one with the camera or pick a file. The model's likeliest classes appear here."
EMPTY_VIEW = "Here you will see which part of the photo reaches the model, and the patches it is cut into."


def build(page: gr.Blocks, store: ModelStore, header: ModelPicker, requests: PhotoRequests, opened: ActiveTab) -> CurrentPhoto:
    """Lay out the panel for one photo and wire it. Returns: the photo, for the other tabs."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            photo = gr.Image(
                label="Photo",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard", "webcam"],
                buttons=[],
                height=470,
                alt_text="The photo you gave",
                elem_id="photo",
            )
            examples.build(photo)
        with gr.Column(scale=7, min_width=300):
            answer = panel(_message(EMPTY_ANSWER), "answer")
            top = gr.Slider(1, MAX_CLASSES, value=5, step=1, label="Classes shown", buttons=[], elem_id="top")
    panel("<h2>What the model sees</h2>")
    view = panel(_message(EMPTY_VIEW, "small"), "view")
    recipe = preprocessing_panel.build()
    kept = gr.State(None)  # the last answer, for the slider

    # The handlers take raw values: only core.photos opens the photo, and an empty number box is no error.
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    respond: dict[str, Any] = {
        "fn": _respond(store, photo, requests),
        "inputs": [photo, header.picker, top, opened.active, *recipe.controls],
        "outputs": [header.status, answer, view, recipe.about, recipe.size, kept],
        "trigger_mode": "multiple",  # each request begins at once, and supersedes earlier requests
        "concurrency_limit": None,
        **quiet,
    }
    gr.on([page.load, photo.change, header.picker.input, *(control.input for control in recipe.controls)], **respond)
    opened.then(**respond)
    photo.change(None, photo, js=static_text("classify/to_answer.js"), api_visibility="private")
    recipe.reset.click(lambda: [preprocessing_panel.OWN] * len(recipe.controls), None, recipe.controls, **quiet).then(**respond)
    top.input(_show, [kept, top], answer, trigger_mode="always_last", queue=False, **quiet)
    return CurrentPhoto(photo, recipe.controls)


def _respond(store: ModelStore, component: gr.Image, requests: PhotoRequests):
    async def respond(request: gr.Request, payload: dict | None, name: str, top: Any, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Answer for the current photo, if the tab is open. Gradio sends the last value once more, so that this ends with UNCHANGED."""
        if active == TAB:
            asked = (payload.get("path") if isinstance(payload, dict) else None, name, *recipe)
            visitor = request.session_hash or ""
            arguments = (store, component, visitor, payload, name, top, recipe)
            watching = model_picker.watch(store, name, visitor)
            try:
                async for step in requests.answer(visitor, client_of(request), asked, watching, lambda: _outputs(*arguments)):
                    if isinstance(step, Answer):
                        yield gr.skip(), *step.value
                        continue
                    text = f"{step.text} Your photo is next." if step.status and step.text else step.text
                    message = _message(text, "busy", step.share) if payload and text else gr.skip()
                    yield step.status or gr.skip(), message, *UNCHANGED[2:]
            except UserError as error:
                yield gr.skip(), _message(user_message(error), "error"), *UNCHANGED[2:]
        yield UNCHANGED

    return respond


def _outputs(
    store: ModelStore, component: gr.Image, visitor: str, payload: dict | None, name: str, top: Any, recipe: tuple[str, ...]
) -> Answer:
    """The answer, view, preprocessing note, image sizes on offer and answer to keep. After an error, the parts before it are returned."""
    view, about, size = _message(EMPTY_VIEW, "small"), gr.skip(), gr.skip()
    try:
        vit = store.get(name, visitor).result(timeout=1)
        size, recipe = preprocessing_panel.fit_sizes(vit, recipe, store.settings.max_image_size)
        about = preprocessing_panel.about(vit.preprocessing, vit.preprocessing)
        preprocessing = preprocessing_panel.overridden(vit, recipe, store.settings.max_image_size)
        about = preprocessing_panel.about(preprocessing, vit.preprocessing)
        if (upload := upload_of(payload, component)) is None:
            return Answer((_message(EMPTY_ANSWER), view, about, size, None), complete=False)

        from vitdemo.classify.photo import classify_input
        from vitdemo.core.photos.photo import open_photo
        from vitdemo.ui.tabs.classify.preview import view_of

        photo = open_photo(upload.path, store.settings, name=upload.name)
        tensor = preprocessing(photo.image)
        foreign = (preprocessing.mean, preprocessing.std) != (vit.preprocessing.mean, vit.preprocessing.std)
        view = html("classify/preview", view=view_of(photo.image, tensor, preprocessing, vit), foreign=foreign, percent=percent)
        result = classify_input(tensor, vit, store.engine, top=MAX_CLASSES)
        kept = {
            "predictions": result.predictions,
            "milliseconds": 1000 * result.seconds,
            "notes": [*photo.notes, *note_on(photo.id, vit)],
            "name": photo.name,
            "model": title_of(vit.name),
            "unfamiliar": result.unfamiliar,
        }
        return Answer((_show(kept, top), view, about, size, kept))
    except Exception as error:
        return Answer((_message(user_message(error), "error"), view, about, size, None), complete=False)


def _show(kept: dict | None, top: Any) -> str:
    """The answer's first `top` classes as HTML. The answer stays unchanged where the number box holds no number."""
    if kept is None or isinstance(top, bool) or not isinstance(top, int | float):
        return gr.skip()
    count = max(1, min(MAX_CLASSES, int(top)))
    return html("classify/predictions", **kept | {"predictions": kept["predictions"][:count]}, percent=percent)


def _message(text: str, kind: str = "empty", share: float | None = None) -> str:
    return html("components/message", text=text, kind=kind, share=share)
