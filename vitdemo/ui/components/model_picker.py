"""The header: the model picker, the status of the loaded model with its source, and the switch between light and dark."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vitdemo.core.config import ASSETS, DEFAULT_MODEL, DEMO_MODEL
from vitdemo.core.inference.model_store import Loading, ModelStore
from vitdemo.core.models import catalogue
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.samples import suit_drawings
from vitdemo.ui.errors import user_message
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.model_loading import POLL_SECONDS, progress_text
from vitdemo.ui.sessions.photo_requests import Waiting
from vitdemo.ui.templating import html, panel, static_text

ICON = (ASSETS / "icon.svg").read_text("utf-8")
BANNER = (
    "ViT-B/16 could not be fetched: the demo model answers. It knows 21 drawn things, not ImageNet's thousand. "
    "For ViT-B/16, start again with a network."
)


@dataclass(frozen=True)
class ModelPicker:
    """What the tabs need of the header.

    Attributes:
        picker: the model's name; an input of every event that runs a model.
        status: the status line.
    """

    picker: gr.Dropdown
    status: gr.HTML


def build(store: ModelStore) -> ModelPicker:
    """Lay out the header. The tabs' events update its status line while they wait for a model."""
    settings = store.settings
    with gr.Row(elem_id="header"):
        panel(html("components/header", icon=ICON), "brand")
        picker = gr.Dropdown(
            choices(settings.model),
            value=settings.model,
            label="Model",
            interactive=not settings.lock_model,
            container=False,
            min_width=240,
            elem_id="model",
        )
        theme = gr.Button("Light / dark", size="sm", elem_id="theme")
    status = panel(_status("busy", "Opening …"), "model-status")
    theme.click(None, js=static_text("components/theme.js"), api_visibility="private")
    return ModelPicker(picker, status)


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
    for tab in tabs:
        tab.then(look, inputs, header.status, **quiet)


async def watch(store: ModelStore, name: str, visitor: str) -> AsyncIterator[Waiting]:
    """Follow a loading model. Yields: what it waits for, with the status line; at the end the outcome's status line alone."""
    try:
        loading = store.get(name, visitor)
    except Exception as error:
        yield Waiting(status=_status("failed", user_message(error)))
        return
    while not loading.done.is_set():
        text, share = progress_text(loading)
        yield Waiting(text, share, _status("busy", text, share=share))
        await asyncio.sleep(POLL_SECONDS)
    yield Waiting(status=_arrived(loading))


def _arrived(loading: Loading) -> str:
    if loading.vit is None:
        assert loading.error is not None  # a load ends with a model or an error
        return _status("failed", user_message(loading.error))
    vit = loading.vit
    entry = catalogue.find(vit.name)
    facts = [
        f"{vit.parameters / 1e6:.1f} M parameters",
        f"{len(vit.labels):,} classes" if vit.labels else "features, no classes",
        f"on {str(vit.device).upper()}",
        f"weights from {vit.source}",
    ]
    banner = BANNER if loading.name == "auto" and vit.name == DEMO_MODEL else ""
    kind = "ready of-drawings" if suit_drawings(vit) else "ready"  # which orders the sample images
    return _status(kind, title_of(vit.name), facts, about=f"{vit.name}: {entry.purpose}" if entry else "", banner=banner)


def _status(kind: str, title: str, facts: Sequence[str] = (), share: float | None = None, about: str = "", banner: str = "") -> str:
    return html("components/model_status", kind=kind, title=title, facts=facts, share=share, about=about, banner=banner)


def choices(operators: str) -> list[tuple[str, str]]:
    """The catalogue as (text, name) pairs. The operator's own model comes first if the catalogue does not have it."""
    pairs = []
    for entry in catalogue.CATALOGUE:
        value = "auto" if operators == "auto" and entry.name == DEFAULT_MODEL else entry.name
        kind = f"{entry.classes:,} classes" if entry.classes else "features only"
        where = "comes with the app" if entry.name == DEMO_MODEL else f"{entry.megabytes:,.0f} MB"
        text = f"{entry.title} · {kind} · {where}"
        pairs.append((f"{entry.title}, or the demo model offline" if value == "auto" else text, value))
    if operators not in [value for _, value in pairs]:
        pairs.insert(0, (title_of(operators), operators))
    return pairs
