"""The Attention tab: where the model looks in the current photo.

The page draws and animates on its own, from numbers sent once per photo. It requests only another class's relevance, a single head's
attention for the hover, the answer without some heads, the erase test and the downloads.
"""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.ui.components import examples, model_picker, preprocessing_panel
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.anywhere import given_photo
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.photo_requests import Answer, PhotoRequests
from vitdemo.ui.tabs.attention.sessions import AttentionSessions
from vitdemo.ui.templating import html, script, static_text

TAB = "attention"  # id of the tab
MARKUP = ("ledger", "wall", "lens", "erase", "believe", "presenter")
UNCHANGED = (gr.skip(),) * 2  # leaves the status line and the explorer unchanged
EMPTY_STATE = {"state": "empty"}


def build(
    header: ModelPicker,
    current: CurrentPhoto,
    opened: ActiveTab,
    sessions: AttentionSessions,
    requests: PhotoRequests,
) -> None:
    """Lay out the tab and wire it."""
    explorer = gr.HTML(
        EMPTY_STATE,
        html_template=html("attention/stage", samples=examples.markup()) + static_text(*(f"attention/{part}.html" for part in MARKUP)),
        js_on_load=script("attention/tab"),
        apply_default_css=False,
        elem_id="attention",
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
    respond: dict[str, Any] = {
        "fn": _respond(sessions, current.photo, requests),
        "inputs": [current.photo, header.picker, opened.active, *current.recipe],
        "outputs": [header.status, explorer],
        "trigger_mode": "multiple",  # each request begins at once, and supersedes earlier requests
        "concurrency_limit": None,
        **quiet,
    }
    gr.on([current.photo.change, header.picker.input], **respond)
    opened.then(**respond)
    header.retried.then(**respond)
    explorer.select(examples.chosen, None, current.photo, trigger_mode="multiple", queue=False, **quiet)
    explorer.upload(given_photo, None, current.photo, trigger_mode="multiple", queue=False, postprocess=False, **quiet)


def _respond(sessions: AttentionSessions, component: gr.Image, requests: PhotoRequests):
    store = sessions.store

    async def respond(request: gr.Request, payload: dict | None, name: str, active: str, *recipe: str) -> AsyncIterator[tuple]:
        """Send what the page draws of the current photo, if the tab is open. Gradio sends the last value once more: it is UNCHANGED."""
        if active == TAB:
            visitor = request.session_hash or ""
            arguments = (sessions, component, visitor, payload, name, recipe)
            watching = model_picker.watch(store, name, visitor)
            try:
                asked = (payload.get("path") if isinstance(payload, dict) else None, name, store.title_of(name), *recipe)
                async for step in requests.answer(visitor, client_of(request), asked, watching, lambda: _state_of(*arguments)):
                    if isinstance(step, Answer):
                        yield gr.skip(), step.value
                        continue
                    text = f"{step.text} Your photo is next." if step.status and step.text else step.text
                    yield step.status or gr.skip(), {"state": "busy", "text": text, "share": step.share} if payload and text else gr.skip()
            except UserError as error:
                yield gr.skip(), {"state": "error", "text": user_message(error)}
        yield UNCHANGED

    return respond


def _state_of(
    sessions: AttentionSessions, component: gr.Image, visitor: str, payload: dict | None, name: str, recipe: tuple[str, ...]
) -> Answer:
    """The explorer's new state for the current photo, or for an error."""
    try:
        vit = sessions.store.get(name, visitor).result(timeout=1)
        if (upload := upload_of(payload, component)) is None:
            return Answer(EMPTY_STATE)
        from vitdemo.ui.tabs.attention.page_data import page_data

        largest = sessions.store.settings.max_image_size
        _, fitting = preprocessing_panel.fit_sizes(vit, recipe, largest)
        return Answer(page_data(sessions, visitor, name, vit, upload, preprocessing_panel.overridden(vit, fitting, largest)))
    except Exception as error:
        return Answer({"state": "error", "text": user_message(error)}, complete=False)
