"""The Attention tab: where the model looks in the current photo.

The page draws and animates by itself from numbers sent once for each photo. Only another class's relevance, a single head's attention for
the hover, an answer without some heads, the erase test and the downloads ask the server.
"""

from collections.abc import AsyncIterator

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from vitdemo.core.errors import UserError
from vitdemo.ui.components import examples, model_picker, preprocessing_panel
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.errors import event_payload, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.photo_queue import PhotoQueue
from vitdemo.ui.tabs.attention import routes
from vitdemo.ui.tabs.attention.sessions import AttentionSessions
from vitdemo.ui.templating import static_text

TAB = "attention"  # of the tab
SCRIPTS = ("state", "draw", "stage", "controls", "classes", "wall", "erase", "take", "tour", "begin")
MARKUP = ("stage", "wall", "erase", "tour")
UNCHANGED = (gr.skip(),) * 2  # leaves the status line and the explorer as they are
EMPTY_STATE = {"state": "empty"}


def build(
    header: ModelPicker,
    current: CurrentPhoto,
    opened: ActiveTab,
    sessions: AttentionSessions,
    latest: LatestRequest,
    photo_queue: PhotoQueue,
) -> None:
    """Lay out the tab and wire it."""
    examples.build(current.photo, "attention-examples", "Try a drawing:")
    explorer = gr.HTML(
        EMPTY_STATE,
        html_template=static_text(*(f"attention/{part}.html" for part in MARKUP)),
        js_on_load=static_text(*(f"attention/{part}.js" for part in SCRIPTS)),
        apply_default_css=False,
        elem_id="attention",
        server_functions=routes.functions(sessions),
    )
    quiet = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    respond = {
        "fn": _respond(sessions, current.photo, latest, photo_queue),
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
    path = event_payload(event).get("path")
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        return gr.skip(), {"state": "error", "text": "Send the photo as an uploaded file."}
    return path, gr.skip()


def _respond(sessions: AttentionSessions, component: gr.Image, latest: LatestRequest, photo_queue: PhotoQueue):
    store = sessions.store

    async def respond(request: gr.Request, payload: dict | None, name: str, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Wait for the model, saying what for, then send what the page draws. Nothing is done for a tab that nobody looks at, nor twice.

        Gradio sends the last thing yielded once more when a generator ends, so a request that gives way ends with nothing to show.
        """
        asked = (payload.get("path") if isinstance(payload, dict) else None, name, *recipe)
        visitor = request.session_hash or ""
        if active != TAB or latest.shows(visitor, asked):
            yield UNCHANGED
            return
        newest = latest.take(visitor)
        async for text, share, status in model_picker.watch(store, name, visitor):
            if not newest():
                break
            busy = {"state": "busy", "text": f"{text} Your photo is next.", "share": share} if payload and text else gr.skip()
            yield status, busy
        if newest() and payload:
            yield gr.skip(), {"state": "busy", "text": "Looking at the photo …", "share": None}
        if newest():
            try:
                arguments = (sessions, component, visitor, payload, name, recipe)
                answer = await photo_queue.take(lambda: _look(*arguments) if newest() else EMPTY_STATE, client_of(request)).result
            except UserError as error:
                yield gr.skip(), {"state": "error", "text": user_message(error)}
                return
            if newest() and answer["state"] != "error":
                latest.answered(visitor, asked)
            yield (gr.skip(), answer) if newest() else UNCHANGED
        else:
            yield UNCHANGED

    return respond


def _look(sessions: AttentionSessions, component: gr.Image, visitor: str, payload: dict | None, name: str, recipe: tuple[str, ...]) -> dict:
    """What the page is told of the current photo, or what is wrong with it."""
    try:
        vit = sessions.store.get(name, visitor).result(timeout=1)
        if (upload := upload_of(payload, component)) is None:
            return EMPTY_STATE
        from vitdemo.ui.tabs.attention.page_data import page_data

        largest = sessions.store.settings.max_image_size
        _, fitting = preprocessing_panel.fit_sizes(vit, recipe, largest)
        return page_data(sessions, visitor, name, vit, upload, preprocessing_panel.overridden(vit, fitting, largest))
    except Exception as error:
        return {"state": "error", "text": user_message(error)}
