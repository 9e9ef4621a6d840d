"""“Try it”: an exported model in Classify, beside the one it came from, with both answers and both times for the current photo."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import gradio as gr

from vitdemo.core.config import ASSETS
from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Job
from vitdemo.ui import classify_tab
from vitdemo.ui.callers import caller_of
from vitdemo.ui.classify_tab import CurrentPhoto
from vitdemo.ui.desk import Desk
from vitdemo.ui.export_order import NOTHING_YET, Export
from vitdemo.ui.export_runs import Exports
from vitdemo.ui.guard import sentence, told
from vitdemo.ui.model_header import title_of
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB, data_uri, html, percent
from vitdemo.ui.turns import Turns
from vitdemo.ui.upload import Upload, upload_of

if TYPE_CHECKING:
    from vitdemo.core.models import Vit
    from vitdemo.export.exported import Exported

FIRST = str(ASSETS / "examples" / "cat.jpg")  # the photo where there is none yet
KEPT = 2  # exported models in memory; another one takes the place of the longest unused
TICK = 0.25  # seconds between two looks at the original on its way
THUMBNAIL = 240  # pixels of the longer side
QUIET = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False, "trigger_mode": "multiple"}
NO_PHOTO = "Give a photo below: both models answer for it here."


class Trial:
    """The card in Classify, hidden until an export is tried."""

    def __init__(self, exports: Exports, desk: Desk):
        self._exports, self._desk = exports, desk
        self._card = gr.HTML("", visible=False, elem_id="trial", apply_default_css=False, js_on_load=(WEB / "trial.js").read_text("utf-8"))
        self._tried = gr.Textbox("", visible="hidden", label="export that is tried")
        self._photo: gr.Image
        self._turns = Turns()
        self._loaded: OrderedDict[Job, Exported] = OrderedDict()  # the longest unused first
        self._loading = threading.Lock()

    def follow(self, current: CurrentPhoto, opened: Opened) -> None:
        """Answer for the current photo whenever it changes, or the tab is opened."""
        self._photo = current.photo
        respond = {"fn": self._respond, "inputs": [self._tried, current.photo, opened.active], "outputs": self._card}
        respond |= {"concurrency_limit": None, **QUIET}
        gr.on([self._tried.change, current.photo.change], **respond)
        opened.then(**respond)
        self._card.select(self._close, None, [self._tried, self._card], queue=False, **QUIET)

    def offer(self, panel: gr.HTML) -> None:
        """Begin to try an export when its panel says so, with a drawing where there is no photo yet. The panel's script opens Classify."""
        limits = panel.value["limits"]

        def begin(payload: dict | None, event: gr.EventData) -> tuple:
            number = told(event).get("request")
            try:
                if not (export := self._exports.get(told(event).get("export"))).done:
                    raise UserError(NOTHING_YET)
            except Exception as error:
                return gr.skip(), gr.skip(), {"limits": limits, "error": sentence(error), "request": number}
            return (
                f"{export.id}/{export.bundle.parent.name}",
                gr.skip() if payload else FIRST,
                {"limits": limits, "tried": True, "request": number},
            )

        panel.select(begin, self._photo, [self._tried, self._photo, panel], queue=False, **QUIET)

    def _close(self, request: gr.Request) -> tuple:
        self._turns.leave(request.session_hash or "")
        return "", gr.update(value="", visible=False)

    def leave(self, visitor: str) -> None:
        self._turns.leave(visitor)

    async def _respond(self, request: gr.Request, tried: str, payload: dict | None, active: str) -> AsyncIterator[dict]:
        """Both answers, as HTML. Nothing is done for a tab that nobody looks at, nor twice."""
        asked, visitor = (tried, payload.get("path") if isinstance(payload, dict) else None), request.session_hash or ""
        if not tried or active != classify_tab.NAME or self._turns.shows(visitor, asked):
            yield gr.skip()
            return
        newest = self._turns.take(visitor)
        yield gr.update(value=html("message", text="Asking both models …", kind="busy small", share=None), visible=True)
        answer = await self._answer(tried, payload, newest, caller_of(request))
        if newest():
            self._turns.answered(visitor, asked)
        yield gr.update(value=answer, visible=True) if newest() else gr.skip()

    async def _answer(self, tried: str, payload: dict | None, newest: Callable[[], bool], caller: str) -> str:
        """Wait for the original, which holds no thread, then ask both. What goes wrong is told as HTML, too."""
        store, holder = self._exports.store, f"trial of {tried}"  # the visitor may look at another model meanwhile
        id, _, place = tried.partition("/")
        try:
            export, upload = self._exports.get(id), upload_of(payload, self._photo)
            if not export.done or export.bundle.parent.name != place:
                raise UserError("Another export has taken the place of this one: try that one.")
            if upload is None:
                return html("trial", text=NO_PHOTO, sides=[])
            loading = store.get(export.model, holder)
            while newest() and not loading.done.is_set():
                await asyncio.sleep(TICK)
            return await self._desk.take(lambda: self._compare(export, upload, loading.result(1)) if newest() else "", caller).result
        except Exception as error:
            return html("trial", text=sentence(error), sides=[])
        finally:
            store.leave(holder)

    def _compare(self, export: Export, upload: Upload, original: "Vit") -> str:
        store, exported = self._exports.store, self._model(export)
        from vitdemo.classify.beside import ask_both
        from vitdemo.core.photos import open_photo

        photo = open_photo(upload.path, store.settings, name=upload.name)
        pair = ask_both(original, exported, exported.preprocessing(photo.image), store.engine)
        photo.image.thumbnail((THUMBNAIL, THUMBNAIL))
        sides = [
            (title_of(original.name), f"the original, torch on {str(original.device).upper()}", pair.first),
            (exported.name, f"{export.plan.precision}, {exported.runtime}", pair.second),
        ]
        return html("trial", text="", sides=sides, pair=pair, photo=photo.name, uri=data_uri(photo.image, "JPEG"), percent=percent)

    def _model(self, export: Export) -> "Exported":
        """The bundle, loaded: once for each time it was exported."""
        from vitdemo.export import exported

        with self._loading:
            found = self._loaded.pop(export.job, None) or exported.load(export.bundle)
            self._loaded[export.job] = found
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return found
