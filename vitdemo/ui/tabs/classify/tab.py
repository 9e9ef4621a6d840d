"""One photo in the Classify tab: its top classes, and what the model saw of the photo."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from vitdemo.core.config import DEMO_MODEL
from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.ui.components import examples, model_picker, preprocessing_panel
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.anywhere import given_photo
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.components.samples import first_sample, opening_picture, served
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import Upload, upload_of
from vitdemo.ui.sessions.model_loading import arrived
from vitdemo.ui.sessions.photo_requests import Answer, PhotoRequests
from vitdemo.ui.tabs.classify.photo_answers import PhotoAnswers
from vitdemo.ui.templating import html, script, static_text

TAB = "classify"  # id of the tab
UNCHANGED = (gr.skip(),) * 5  # keeps the status line, the answer, the view, the preprocessing note and the sizes
EMPTY_ANSWER = "Drop a photo, paste one, take one with the camera or pick a file. The model's likeliest classes appear here."
NO_VIEW = '<div class="view-none"></div>'  # Gradio's photo box is on show in its place
MEANWHILE = "ViT-B/16 is on its way. Meanwhile the demo model, which knows 21 drawn things, answers a drawing."


def build(header: ModelPicker, requests: PhotoRequests, opened: ActiveTab, answers: PhotoAnswers) -> CurrentPhoto:
    """Lay out the panel for one photo and wire it. Returns: the photo, for the other tabs."""
    with gr.Row():
        with gr.Column(scale=6, min_width=300):
            view = _scripted("view", html("classify/opening", picture=opening_picture(answers.store.settings)), "view")
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
            choose = _scripted("choose", html("classify/choose"), "choose")
            examples.build(photo)
        with gr.Column(scale=6, min_width=300):
            answer = _scripted("answer", _message("Opening …", "busy"), "answer")
    recipe = preprocessing_panel.build()

    # The handlers take raw values: only core.photos opens the photo.
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    respond: dict[str, Any] = {
        "fn": _respond(answers, photo, requests),
        "inputs": [photo, header.picker, opened.active, *recipe.controls],
        "outputs": [header.status, answer, view, recipe.about, recipe.size],
        "trigger_mode": "multiple",  # each request begins at once, and supersedes earlier requests
        "concurrency_limit": None,
        **quiet,
    }
    welcome = respond | {"fn": _welcome(answers, requests), "inputs": [header.picker], "outputs": [*respond["outputs"], photo]}
    view.select(**welcome)
    given = respond | {"fn": _respond(answers, photo, requests, only_photos=True)}  # both events come once while the page is being built
    photo.change(None, photo, js=static_text("classify/to_answer.js"), api_visibility="private")  # the listeners take turns
    photo.change(**given)
    opened.then(**given)
    gr.on([control.input for control in recipe.controls], **respond)
    photo.clear(**respond | {"inputs": [gr.State(), *respond["inputs"][1:]]})  # Gradio may still send the photo that was removed
    again = _again(respond["fn"], welcome["fn"])
    for asked_again in (header.retried.then, header.picker.input):
        asked_again(**respond | {"fn": again, "outputs": welcome["outputs"]})
    choose.upload(given_photo, None, photo, trigger_mode="multiple", queue=False, postprocess=False, **quiet)
    recipe.reset.click(lambda: [preprocessing_panel.OWN] * len(recipe.controls), None, recipe.controls, **quiet).then(**respond)
    return CurrentPhoto(photo, recipe.controls)


def _scripted(name: str, value: str, elem_id: str) -> gr.HTML:
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=script(f"classify/{name}"))


def _respond(answers: PhotoAnswers, component: gr.Image, requests: PhotoRequests, only_photos: bool = False):
    store = answers.store

    async def respond(request: gr.Request, payload: dict | None, name: str, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Answer for the current photo, if the tab is open. Gradio sends the last value once more, so that this ends with UNCHANGED."""
        if active != TAB and payload:
            requests.supersede(request.session_hash or "")  # a sample may be on its way
        if active == TAB and (payload or not only_photos):
            visitor = request.session_hash or ""
            watching = model_picker.watch(store, name, visitor)
            work = partial(_outputs, answers, visitor, lambda: upload_of(payload, component), name, recipe)
            try:
                asked = (payload.get("path") if isinstance(payload, dict) else None, name, store.title_of(name), *recipe)
                async for step in requests.answer(visitor, client_of(request), asked, watching, work):
                    if isinstance(step, Answer):
                        yield gr.skip(), *step.value
                        continue
                    text = f"{step.text} Your photo is next." if step.status and step.text else step.text
                    message = _message(text, "busy", step.share) if payload and text else gr.skip()
                    yield step.status or gr.skip(), message, *UNCHANGED[2:]
            except UserError as error:
                yield gr.skip(), _message(user_message(error), "error"), NO_VIEW, *UNCHANGED[3:]
        yield UNCHANGED

    return respond


def _welcome(answers: PhotoAnswers, requests: PhotoRequests):
    store = answers.store

    async def welcome(request: gr.Request, name: str) -> AsyncIterator[tuple]:
        """Make a sample that suits the model the current photo, and answer it. While ViT-B/16 is on its way, show a drawing's answer.

        At “?photo=none” the page opens without a photo.
        """
        visitor, said = request.session_hash or "", ("", False)
        empty = request.query_params.get("photo") == "none"
        asked, watching = ("welcome", name), model_picker.watch(store, name, visitor)
        drawing = None
        try:
            if store.parts_of(name)[0] == "auto" and not empty and not store.get(name, visitor).done.is_set():
                drawing = asyncio.ensure_future(_drawing(answers))
            async for step in requests.answer(
                visitor, client_of(request), asked, watching, partial(_sample, answers, visitor, name, empty)
            ):
                if isinstance(step, Answer):
                    yield gr.skip(), *step.value
                    continue
                text = step.text if step.share is None else f"{step.text.split(':')[0]}: {percent(step.share, 0)}"
                answer = view = gr.skip()
                drawn = drawing.result() if drawing and drawing.done() and not drawing.exception() else None
                if text and (text, bool(drawn)) != said:
                    answer = _message(text, "busy small" if drawn else "busy", step.share) + (drawn[0] if drawn else "")
                    view = drawn[1] if drawn and not said[1] else view
                    said = text, bool(drawn)
                yield step.status or gr.skip(), answer, view, *UNCHANGED[3:], gr.skip()
        except UserError as error:
            yield gr.skip(), _message(user_message(error), "error"), NO_VIEW, *UNCHANGED[3:], gr.skip()
        finally:
            if drawing:
                drawing.cancel()
        yield *UNCHANGED, gr.skip()

    return welcome


def _again(respond: Callable, welcome: Callable):
    async def again(request: gr.Request, payload: dict | None, name: str, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Answer the current photo by a model that was loaded again, or a sample where there is none yet."""
        if payload or active != TAB:
            async for step in respond(request, payload, name, active, *recipe):
                yield *step, gr.skip()
        else:
            async for step in welcome(request, name):
                yield step

    return again


async def _drawing(answers: PhotoAnswers) -> tuple[str, str]:
    """The demo model's answer to a drawing, and the view, for as long as another model is on its way."""
    vit = await arrived(answers.store, DEMO_MODEL)
    return await asyncio.to_thread(_answer_drawing, answers, vit)


def _sample(answers: PhotoAnswers, visitor: str, name: str, empty: bool) -> Answer:
    """As `_outputs`, for a sample that suits the model or for none, and the path at which the page finds the sample."""
    recipe = (preprocessing_panel.OWN,) * len(preprocessing_panel.CALLED)
    if empty:
        return Answer((*_outputs(answers, visitor, lambda: None, name, recipe).value, gr.skip()), complete=False)
    sample = first_sample(answers.store.get(name, visitor).result(timeout=1))
    path = served(sample)
    found = _outputs(answers, visitor, lambda: Upload(Path(path), sample.path.name), name, recipe)
    return Answer((*found.value, path), found.complete, (path, name, answers.store.title_of(name), *recipe))


def _answer_drawing(answers: PhotoAnswers, vit: Any) -> tuple[str, str]:
    found = answers.first(vit)
    assert found.answer
    kept = found.answer | {"notes": [MEANWHILE], "said": found.answer["said"] | {"photo": ""}}
    return _answer(kept), _view(found.view, vit, vit.preprocessing, kept, "")


def _outputs(answers: PhotoAnswers, visitor: str, upload: Callable[[], Upload | None], name: str, recipe: tuple[str, ...]) -> Answer:
    """The answer, view, preprocessing note and image sizes on offer. After an error, the parts before it are returned."""
    store, view, about, size = answers.store, NO_VIEW, gr.skip(), gr.skip()
    try:
        vit = store.get(name, visitor).result(timeout=1)
        size, recipe = preprocessing_panel.fit_sizes(vit, recipe, store.settings.max_image_size)
        about = preprocessing_panel.about(vit.preprocessing, vit.preprocessing)
        preprocessing = preprocessing_panel.overridden(vit, recipe, store.settings.max_image_size)
        about = preprocessing_panel.about(preprocessing, vit.preprocessing)
        if (given := upload()) is None:
            return Answer((_message(EMPTY_ANSWER), view, about, size), complete=False)
        from vitdemo.core.photos.photo import open_photo

        found = answers.get(open_photo(given.path, store.settings, name=given.name), vit, preprocessing)
        view = _view(found.view, vit, preprocessing, found.answer, str(given.path))
        if found.answer is None:
            raise found.error or UserError("The model gave no answer: try again.")
        from vitdemo.classify.snippet import snippet
        from vitdemo.core.models.snippet import weights_of

        try:
            python = snippet(vit, preprocessing, photo=found.answer["name"], **weights_of(name, vit, store.settings))
        except UserError as error:
            python = f"# {error}\n"  # the answer is there all the same
        return Answer((_answer(found.answer, python), view, about, size))
    except Exception as error:
        return Answer((_message(user_message(error), "error"), view, about, size), complete=False)


def _view(view: Any, vit: Any, preprocessing: Any, answer: dict | None, path: str) -> str:
    """What the model sees of a photo, as HTML.

    Args:
        path: of the photo, as the page knows it.
    """
    foreign = (preprocessing.mean, preprocessing.std) != (vit.preprocessing.mean, vit.preprocessing.std)
    first = answer["said"]["first"] if answer else None
    supported = first.label.short if first else ""
    return html("classify/preview", view=view, foreign=foreign, answer=supported, path=path, made=time.time_ns(), percent=percent)


def _answer(answer: dict, python: str = "") -> str:
    """The model's answer as HTML. Like a view, it says when it was made, so that the page's script knows one from the other.

    Args:
        python: code that gives the same answer, to be copied.
    """
    rows = [each.as_row() for each in answer["predictions"]]
    copies = {
        "json": json.dumps([{"path": answer["name"], "model": answer["id"], "predictions": rows}], ensure_ascii=False),
        "python": python,
    }
    return html("classify/predictions", **answer, copies=copies, made=time.time_ns(), percent=percent)


def _message(text: str, kind: str = "empty", share: float | None = None) -> str:
    return html("components/message", text=text, kind=kind, share=share)
