"""“Try it”: compare an exported model with its original in Classify, with the predictions and times of both for the current photo."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.jobs.jobs import Job
from vitdemo.core.names import plain_name
from vitdemo.core.outputs import read_json
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.components.samples import served_copy
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.server.upload import Upload, upload_of
from vitdemo.ui.sessions.model_loading import progress_text
from vitdemo.ui.sessions.photo_requests import Answer, PhotoRequests, Waiting
from vitdemo.ui.tabs.export.session import ExportSession
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.templating import data_uri, html, script

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit
    from vitdemo.export.exported import Exported

MAX_LOADED = 2  # exported models in memory; the least recently used is evicted
POLL_SECONDS = 0.25  # between two polls of the original while it loads
THUMBNAIL_PIXELS = 240  # longer side
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False, "trigger_mode": "multiple"}
NO_PHOTO = "Give a photo below: both models answer for it here."
BUSY = html("components/message", text="Running both models …", kind="busy small", share=None)


class ModelComparison:
    """The comparison card in Classify, hidden until a visitor tries an export."""

    def __init__(self, sessions: ExportSessions, requests: PhotoRequests):
        self._sessions, self._requests = sessions, requests
        self._card = gr.HTML("", visible=False, elem_id="trial", apply_default_css=False, js_on_load=script("export/comparison"))
        self._tried = gr.Textbox("", visible="hidden", label="export that is tried")
        self._photo: gr.Image
        self._answer: dict[str, Any] = {}  # the event that fills the card
        self._tab: int | str | None = ""  # id of the Classify tab
        self._loaded: OrderedDict[Job, Exported] = OrderedDict()  # least recently used first
        self._loading = threading.Lock()

    def follow(self, current: CurrentPhoto, opened: ActiveTab) -> None:
        """Compare both models on the current photo whenever the photo changes or the tab is opened."""
        self._photo, self._tab = current.photo, opened.tab.id
        self._answer = {"fn": self._respond, "inputs": [self._tried, current.photo, opened.active], "outputs": self._card}
        self._answer |= {"concurrency_limit": None, **QUIET}
        current.photo.change(**self._answer)
        opened.then(**self._answer)
        self._card.select(self._close, None, [self._tried, self._card], queue=False, **QUIET)

    def offer(self, panel: gr.HTML) -> None:
        """Start a comparison when the Export panel names a bundle, with the photo of its known answer if there is no photo yet.

        The panel's script opens Classify.
        """

        def begin(payload: dict | None, event: gr.EventData) -> tuple:
            tried = str(event_payload(event).get("tried", ""))
            return tried, gr.skip() if payload else self._known_photo(tried)

        # an event of the bundle's name alone could be asked with the photo of before
        panel.select(begin, self._photo, [self._tried, self._photo], queue=False, **QUIET).then(**self._answer)

    def _known_photo(self, tried: str) -> str | dict:
        """A copy of the photo of a bundle's known answer, under the name of what is on it; no change where the bundle is gone."""
        try:
            session = self._session(tried)
            name = read_json(session.file("known_answer/answer.json")).get("name", "photo")
            return served_copy(session.file("known_answer/photo.png"), f"{plain_name(str(name)) or 'photo'}.png")
        except (UserError, OSError):
            return gr.skip()

    def _close(self, request: gr.Request) -> tuple:
        self._requests.leave(request.session_hash or "")
        return "", gr.update(value="", visible=False)

    async def _respond(self, request: gr.Request, tried: str, payload: dict | None, active: str) -> AsyncIterator[dict]:
        """Show both answers as HTML, if the tab is open and an export is tried."""
        if tried and active == self._tab:
            asked, visitor = (tried, payload.get("path") if isinstance(payload, dict) else None), request.session_hash or ""
            holder = f"trial of {tried}"  # keeps the original loaded if the visitor selects another model
            try:
                session, upload = self._session(tried), upload_of(payload, self._photo)
                watching, work = self._original(session, upload, holder), lambda: self._compare(session, upload, holder)
                async for step in self._requests.answer(visitor, client_of(request), asked, watching, work):
                    yield gr.update(value=step.value if isinstance(step, Answer) else BUSY, visible=True)
            except UserError as error:
                yield gr.update(value=html("export/comparison", text=user_message(error), sides=[]), visible=True)
            finally:
                self._sessions.store.leave(holder)
        yield gr.skip()

    def _session(self, tried: str) -> ExportSession:
        """The export that is tried. Raises: UserError where it is gone, or another one has taken its place."""
        id, _, bundle_folder = tried.partition("/")
        session = self._sessions.get(id)
        if not session.done or session.bundle.parent.name != bundle_folder:
            raise UserError("Another export has taken the place of this one: try that one.")
        return session

    async def _original(self, session: ExportSession, upload: Upload | None, holder: str) -> AsyncIterator[Waiting]:
        """Wait for the original model, where there is a photo to ask it about."""
        if upload is None:
            return
        loading = self._sessions.store.get(session.model, holder)
        yield Waiting(progress_text(loading)[0])
        while not loading.done.is_set():
            await asyncio.sleep(POLL_SECONDS)
            yield Waiting(progress_text(loading)[0])

    def _compare(self, session: ExportSession, upload: Upload | None, holder: str) -> Answer:
        """Both models' answers as HTML, or an error."""
        if upload is None:
            return Answer(html("export/comparison", text=NO_PHOTO, sides=[]))
        try:
            return Answer(self._answers(session, upload, self._sessions.store.get(session.model, holder).result(1)))
        except Exception as error:
            return Answer(html("export/comparison", text=user_message(error), sides=[]), complete=False)

    def _answers(self, session: ExportSession, upload: Upload, original: "Vit") -> str:
        store, exported = self._sessions.store, self._model(session)
        from vitdemo.classify.compare import compare_models
        from vitdemo.core.photos.photo import open_photo

        photo = open_photo(upload.path, store.settings, name=upload.name)
        pair = compare_models(original, exported, exported.preprocessing(photo.image), store.engine)
        photo.image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        assert session.plan is not None  # the export is done
        sides = [
            (original.title, f"the original, torch on {str(original.device).upper()}{original.reduced}", pair.first),
            (exported.name, f"{session.plan.precision}, {exported.runtime}", pair.second),
        ]
        return html(
            "export/comparison", text="", sides=sides, pair=pair, photo=photo.name, uri=data_uri(photo.image, "JPEG"), percent=percent
        )

    def _model(self, session: ExportSession) -> "Exported":
        """The exported model, loaded once per export job and then cached."""
        from vitdemo.export import exported

        with self._loading:
            assert session.job is not None  # the export is done
            model = self._loaded.pop(session.job, None) or exported.load(session.bundle)
            self._loaded[session.job] = model
            while len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
            return model
