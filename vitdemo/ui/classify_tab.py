"""The Classify tab: a photo in, its top classes out, and what the model saw of it."""

from collections.abc import AsyncIterator

import gradio as gr

from vitdemo.core.store import ModelStore
from vitdemo.ui import examples, model_header, recipe_panel
from vitdemo.ui.guard import sentence
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.render import html, panel
from vitdemo.ui.upload import upload_of

MOST = 20  # classes kept of each answer, so that the slider needs no second pass
EMPTY = "Drop a photo, paste one, take one with the camera or pick a file. The model's likeliest classes appear here."
EMPTY_VIEW = "Here you will see which part of the photo reaches the model, and the patches it is cut into."


def build(store: ModelStore, header: ModelHeader) -> None:
    """Lay out the tab and wire it."""
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
            answer = panel(_message(EMPTY), "answer")
            top = gr.Slider(1, MOST, value=5, step=1, label="Classes shown", buttons=[], elem_id="top")
    panel("<h2>What the model sees</h2>")
    view = panel(_message(EMPTY_VIEW, "small"), "view")
    recipe = recipe_panel.build(store.settings.max_image_size)
    kept = gr.State(None)  # the last answer, for the slider

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    raw = {"preprocess": False}  # the photo is opened by core.photos alone
    wait, look = _wait(store), _look(store, photo)

    def answer_after(event, **options) -> None:
        """Wait for the model, saying what for; then look at the current photo."""
        event(wait, [photo, header.picker], [answer, header.status], concurrency_limit=None, **options, **raw, **quiet).then(
            look,
            [photo, header.picker, top, *recipe.controls],
            [answer, view, recipe.about, kept],
            concurrency_id="model",
            concurrency_limit=4,
            **raw,
            **quiet,
        )

    for event in (photo.change, header.picker.input, *(control.input for control in recipe.controls)):
        answer_after(event, trigger_mode="always_last")
    answer_after(recipe.reset.click(lambda: [recipe_panel.OWN] * len(recipe.controls), None, recipe.controls, **quiet).then)
    top.input(_show, [kept, top], answer, trigger_mode="always_last", queue=False, **quiet)


def _wait(store: ModelStore):
    watch = model_header.watcher(store)

    async def wait(photo: dict | None, name: str, request: gr.Request) -> AsyncIterator[tuple]:
        """Say what the model waits for until it has come. A coroutine holds no thread: a long download keeps nobody else waiting."""
        async for text, share, status in watch(name, request):
            yield _message(f"{text} Your photo is next.", "busy", share) if photo and text else gr.skip(), status

    return wait


def _look(store: ModelStore, component: gr.Image):
    def look(request: gr.Request, payload: dict | None, name: str, top: int, *recipe: str) -> tuple:
        """The answer, the view, the note on preprocessing, and what the slider needs; each says what it can."""
        view, about = _message(EMPTY_VIEW, "small"), gr.skip()
        try:
            vit = store.get(name, request.session_hash or "").result(timeout=1)
            preprocessing = recipe_panel.overridden(vit, recipe, store.settings.max_image_size)
            about = recipe_panel.about(preprocessing, vit.preprocessing)
            if (upload := upload_of(payload, component)) is None:
                return _message(EMPTY), view, about, None

            from vitdemo.classify import classify
            from vitdemo.core.photos import open_photo
            from vitdemo.ui.view import view_of

            photo = open_photo(upload.path, store.settings, name=upload.name)
            seen = view_of(photo.image, preprocessing(photo.image), preprocessing, vit)
            foreign = (preprocessing.mean, preprocessing.std) != (vit.preprocessing.mean, vit.preprocessing.std)
            view = html("view", view=seen, foreign=foreign, percent=percent)
            result = classify(photo.image, vit, store.engine, preprocessing=preprocessing, top=MOST)
            kept = {
                "predictions": result.predictions,
                "milliseconds": 1000 * result.seconds,
                "notes": photo.notes,
                "name": photo.name,
                "model": model_header.title_of(vit.name),
                "unfamiliar": result.unfamiliar,
            }
            return _show(kept, top), view, about, kept
        except Exception as error:
            return _message(sentence(error), "error"), view, about, None

    return look


def _show(kept: dict | None, top: int) -> str:
    """The answer's first `top` classes as HTML."""
    if kept is None:
        return gr.skip()
    return html("predictions", **kept | {"predictions": kept["predictions"][: int(top)]}, percent=percent)


def percent(share: float) -> str:
    """A probability for people: one decimal, and nothing rounded to certainty or to nothing."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def _message(text: str, kind: str = "empty", share: float | None = None) -> str:
    return html("message", text=text, kind=kind, share=share)
