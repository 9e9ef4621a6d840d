"""The Attention tab: where the model looks in the current photo.

The page draws and animates by itself from numbers sent once for each photo. Only another class's relevance, a single head's attention for
the hover, an answer without some heads, the erase test and the downloads ask the server.
"""

from collections.abc import AsyncIterator

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from vitdemo.core.errors import UserError
from vitdemo.ui import attention_answers, examples, model_header, recipe_panel
from vitdemo.ui.attention_scenes import Scenes
from vitdemo.ui.callers import caller_of
from vitdemo.ui.classify_tab import CurrentPhoto
from vitdemo.ui.desk import Desk
from vitdemo.ui.guard import sentence, told
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB
from vitdemo.ui.turns import Turns
from vitdemo.ui.upload import upload_of

NAME = "attention"  # of the tab
SCRIPTS = ("state", "draw", "stage", "controls", "classes", "wall", "erase", "take", "tour", "begin")
MARKUP = ("stage", "wall", "erase", "tour")
NOTHING = (gr.skip(),) * 2  # leaves the status line and the explorer as they are
EMPTY = {"state": "empty"}


def build(header: ModelHeader, current: CurrentPhoto, opened: Opened, scenes: Scenes, turns: Turns, desk: Desk) -> None:
    """Lay out the tab and wire it."""
    examples.build(current.photo, "attention-examples", "Try a drawing:")
    explorer = gr.HTML(
        EMPTY,
        html_template="\n".join((WEB / f"attention_{part}.html").read_text("utf-8") for part in MARKUP),
        js_on_load="\n".join((WEB / f"attention_{part}.js").read_text("utf-8") for part in SCRIPTS),
        apply_default_css=False,
        elem_id="attention",
        server_functions=attention_answers.functions(scenes),
    )
    quiet = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    respond = {
        "fn": _respond(scenes, current.photo, turns, desk),
        "inputs": [current.photo, header.picker, opened.active, *current.recipe],
        "outputs": [header.status, explorer],
        "trigger_mode": "multiple",  # each request begins at once, and the ones before it give way
        "concurrency_limit": None,
        **quiet,
    }
    gr.on([current.photo.change, header.picker.input], **respond)
    opened.then(**respond)
    explorer.upload(_give, None, [current.photo, explorer], trigger_mode="multiple", queue=False, **quiet)


def _give(event: gr.EventData) -> tuple:
    """Make a file that the script uploaded the current photo, in every tab."""
    path = told(event).get("path")
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        return gr.skip(), {"state": "error", "text": "Send the photo as an uploaded file."}
    return path, gr.skip()


def _respond(scenes: Scenes, component: gr.Image, turns: Turns, desk: Desk):
    store = scenes.store

    async def respond(request: gr.Request, payload: dict | None, name: str, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Wait for the model, saying what for, then send what the page draws. Nothing is done for a tab that nobody looks at, nor twice.

        Gradio sends the last thing yielded once more when a generator ends, so a request that gives way ends with nothing to show.
        """
        asked = (payload.get("path") if isinstance(payload, dict) else None, name, *recipe)
        visitor = request.session_hash or ""
        if active != NAME or turns.shows(visitor, asked):
            yield NOTHING
            return
        newest = turns.take(visitor)
        async for text, share, status in model_header.watch(store, name, visitor):
            if not newest():
                break
            busy = {"state": "busy", "text": f"{text} Your photo is next.", "share": share} if payload and text else gr.skip()
            yield status, busy
        if newest() and payload:
            yield gr.skip(), {"state": "busy", "text": "Looking at the photo …", "share": None}
        if newest():
            try:
                arguments = (scenes, component, visitor, payload, name, recipe)
                told = await desk.take(lambda: _look(*arguments) if newest() else EMPTY, caller_of(request)).result
            except UserError as error:
                yield gr.skip(), {"state": "error", "text": sentence(error)}
                return
            if newest() and told["state"] != "error":
                turns.answered(visitor, asked)
            yield (gr.skip(), told) if newest() else NOTHING
        else:
            yield NOTHING

    return respond


def _look(scenes: Scenes, component: gr.Image, visitor: str, payload: dict | None, name: str, recipe: tuple[str, ...]) -> dict:
    """What the page is told of the current photo, or what is wrong with it."""
    try:
        vit = scenes.store.get(name, visitor).result(timeout=1)
        if (upload := upload_of(payload, component)) is None:
            return EMPTY
        from vitdemo.ui.attention_looks import look

        largest = scenes.store.settings.max_image_size
        _, fitting = recipe_panel.fit_sizes(vit, recipe, largest)
        return look(scenes, visitor, name, vit, upload, recipe_panel.overridden(vit, fitting, largest))
    except Exception as error:
        return {"state": "error", "text": sentence(error)}
