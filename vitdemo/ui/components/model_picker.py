"""The header: the model picker, a chip with the state of the loaded model, the switch between light and dark, and the tour."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitdemo.core.config import ASSETS, DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.inference.model_store import Loading, ModelStore
from vitdemo.core.models import catalogue
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.samples import suit_drawings
from vitdemo.ui.errors import user_message
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.model_loading import POLL_SECONDS, progress_text
from vitdemo.ui.sessions.photo_requests import Waiting
from vitdemo.ui.templating import html, panel, script

ICON = (ASSETS / "icon.svg").read_text("utf-8")


@dataclass(frozen=True)
class ModelPicker:
    """What the tabs need of the header.

    Attributes:
        picker: the model's name; an input of every event that runs a model.
        status: the chip.
        retried: has tried again to load the model; the tabs' events follow it.
    """

    picker: gr.Dropdown
    status: gr.HTML
    retried: gr.events.Dependency


def build(page: gr.Blocks, store: ModelStore, retry: Callable[[str], None]) -> ModelPicker:
    """Lay out the header. The tabs' events update its chip while they wait for a model.

    Args:
        retry: tries again to load the model of this name.
    """
    settings = store.settings
    with gr.Row(elem_id="header"):
        panel(html("components/brand", icon=ICON), "brand")
        picker = gr.Dropdown(
            choices(settings),
            value=settings.model,
            label="Model",
            interactive=not settings.lock_model,
            container=False,
            min_width=160,
            elem_id="model",
        )
        status = _scripted("model_status", _status("busy", "Opening …"), "model-status")
        _scripted("page_buttons", html("components/page_buttons"), "page-buttons")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    page.load(lambda: gr.update(choices=choices(settings)), None, picker, queue=False, **quiet)  # what is on this machine by now
    return ModelPicker(picker, status, status.select(retry, picker, None, queue=False, **quiet))


def _scripted(name: str, value: str, elem_id: str) -> gr.HTML:
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=script(f"components/{name}"))


def follow(store: ModelStore, header: ModelPicker, tabs: Sequence[ActiveTab], latest: LatestRequest) -> None:
    """Keep the status line up to date in tabs whose own events don't run the model."""
    names = {tab.tab.id for tab in tabs}

    async def look(request: gr.Request, name: str, active: str) -> AsyncIterator:
        newest = latest.begin(request.session_hash or "")
        if active in names:
            async for waiting in watch(store, name, request.session_hash or ""):
                if not newest():
                    break
                yield waiting.status
            else:
                return
        yield gr.skip()

    inputs = [header.picker, tabs[0].active]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple", "concurrency_limit": None}
    header.picker.change(look, inputs, header.status, **quiet)
    header.retried.then(look, inputs, header.status, **quiet)
    for tab in tabs:
        tab.then(look, inputs, header.status, **quiet)


async def watch(store: ModelStore, name: str, visitor: str) -> AsyncIterator[Waiting]:
    """Follow a loading model. Yields: what it waits for, with the status line; at the end the outcome's status line alone."""
    try:
        loading = store.get(name, visitor)
    except Exception as error:
        yield Waiting(status=_status("failed", "No model", [user_message(error)]))
        return
    while not loading.done.is_set():
        text, share = progress_text(loading)
        yield Waiting(text, share, _status("busy", f"{share:.0%}" if share else "Loading", [text], share=share))
        await asyncio.sleep(POLL_SECONDS)
    yield Waiting(status=_arrived(loading, instead=bool(loading.instead) and name != DEMO_MODEL))


def _arrived(loading: Loading, instead: bool) -> str:
    if loading.vit is None:
        assert loading.error is not None  # a load ends with a model or an error
        return _status("failed", "Not loaded", [user_message(loading.error)], retry=True)
    vit = loading.vit
    entry = catalogue.find(vit.name)
    device, precision = str(vit.device).upper(), vit.precision
    facts = [
        title_of(vit.name),
        f"{vit.parameters / 1e6:.1f} M parameters",
        f"{len(vit.labels):,} classes" if vit.labels else "features, no classes",
        f"on {device} in {precision}",
        f"weights from {vit.source}",
        *vit.notes,
    ]
    kind = "ready of-drawings" if suit_drawings(vit) else "ready"  # which orders the sample images
    about = f"{vit.name}: {entry.purpose}" if entry else ""
    if instead:
        return _status(f"{kind} instead", "Offline: demo model", facts, about=about, warning=instead_text(loading), retry=True)
    return _status(kind, f"{device} · {precision}", facts, about=about)


def instead_text(loading: Loading) -> str:
    """Why the demo model answers in another one's place, and what to do."""
    return (
        f"{loading.instead} Until then the demo model answers, which knows 21 drawn things, not ImageNet's thousand. "
        "Without a network: README, “Offline”."
    )


def _status(
    kind: str, title: str, facts: Sequence[str] = (), share: float | None = None, about: str = "", warning: str = "", retry: bool = False
) -> str:
    values = {"kind": kind, "title": title, "facts": facts, "share": share, "about": about, "warning": warning, "retry": retry}
    return html("components/model_status", **values)


def choices(settings: Settings) -> list[tuple[str, str]]:
    """The catalogue as (text, name) pairs: what each model is, whether it is on this machine, and what it is good for. The operator's own
    model comes first if the catalogue does not have it."""
    pairs, operators = [], settings.model
    for entry in catalogue.CATALOGUE:
        value = "auto" if operators == "auto" and entry.name == DEFAULT_MODEL else entry.name
        kind = f"{entry.classes:,} classes" if entry.classes else "features only"
        here = catalogue.is_here(entry) or (entry.name == operators and settings.checkpoint is not None)
        where = "on this machine" if here else f"{entry.megabytes:,.0f} MB to fetch{f' under {entry.licence}' * bool(entry.terms)}"
        pairs.append((f"{entry.title} · {kind} · {where} · {entry.purpose}", value))
    if operators not in [value for _, value in pairs]:
        pairs.insert(0, (title_of(operators), operators))
    return pairs
