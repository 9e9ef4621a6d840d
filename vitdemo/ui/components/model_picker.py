"""The top of the page: which model answers, what is loaded and where it came from, light or dark."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from vitdemo.core import catalogue
from vitdemo.core.config import ASSETS, DEFAULT_MODEL, DEMO_MODEL
from vitdemo.core.store import Loading, ModelStore
from vitdemo.ui.guard import sentence
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB, html, panel
from vitdemo.ui.turns import Turns

if TYPE_CHECKING:
    from vitdemo.core.models import Vit

ICON = (ASSETS / "icon.svg").read_text("utf-8")
BANNER = (
    "ViT-B/16 could not be fetched: the demo model answers. It knows 21 drawn things, not ImageNet's thousand. "
    "For ViT-B/16, start again with a network."
)
TICK = 0.25  # seconds between two looks at a model on its way


@dataclass(frozen=True)
class ModelHeader:
    """What the tabs need of the header: the picker, whose value goes into every event that runs a model."""

    picker: gr.Dropdown
    status: gr.HTML


def build(store: ModelStore) -> ModelHeader:
    """Lay out the header. The tabs' events keep its status line true while they wait for a model."""
    settings = store.settings
    with gr.Row(elem_id="header"):
        panel(html("header", icon=ICON), "brand")
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
    theme.click(None, js=(WEB / "theme.js").read_text("utf-8"), api_visibility="private")
    return ModelHeader(picker, status)


def follow(store: ModelStore, header: ModelHeader, tabs: Sequence[Opened], turns: Turns) -> None:
    """Keep the status line true while a tab is open whose own events don't ask the model."""
    names = {each.tab.id for each in tabs}

    async def look(request: gr.Request, name: str, active: str) -> AsyncIterator:
        newest = turns.take(request.session_hash or "")
        if active in names:
            async for _, _, status in watch(store, name, request.session_hash or ""):
                if not newest():
                    break
                yield status
            else:
                return
        yield gr.skip()

    inputs = [header.picker, tabs[0].active]
    quiet = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple", "concurrency_limit": None}
    header.picker.change(look, inputs, header.status, **quiet)
    for each in tabs:
        each.then(look, inputs, header.status, **quiet)


async def watch(store: ModelStore, name: str, visitor: str) -> AsyncIterator[tuple[str | None, float | None, str]]:
    """Follow a model on its way: what it waits for, the share that has arrived, and the status line; at last None, and how it ended."""
    try:
        loading = store.get(name, visitor)
    except Exception as error:
        yield None, None, _status("failed", sentence(error))
        return
    while not loading.done.is_set():
        text, share = waiting(loading)
        yield text, share, _status("busy", text, share=share)
        await asyncio.sleep(TICK)
    yield None, None, _arrived(loading)


async def arrived(store: ModelStore, name: str, visitor: str = "") -> "Vit":
    """The model of that name, the operator's own if it is empty, once it is there; waiting holds no thread.

    Raises: UserError where it can't be had.
    """
    loading = store.get(name or None, visitor)
    while not loading.done.is_set():
        await asyncio.sleep(TICK)
    return loading.result()


def waiting(loading: Loading) -> tuple[str, float | None]:
    """What a model on its way is waiting for, and the share that has arrived, 0 … 1, where that is known."""
    title = title_of(loading.name)
    progress = loading.progress
    if progress is None:
        return f"Getting ready to load {title} …", None
    if progress.stage == "contact":
        return f"Asking the model hub for {title} …", None
    if progress.stage == "download":
        size = f"{progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else f"{progress.done / 1e6:.0f} MB"
        return f"Downloading {title}: {size}", progress.done / progress.total if progress.total else None
    return f"Loading {title} …", None


def title_of(name: str) -> str:
    """What people call a model."""
    entry = catalogue.find(DEFAULT_MODEL if name == "auto" else name)
    return entry.title if entry else name.removeprefix("local-dir:").rstrip("/").split("/")[-1]


def _arrived(loading: Loading) -> str:
    if loading.vit is None:
        return _status("failed", sentence(loading.error))
    vit = loading.vit
    entry = catalogue.find(vit.name)
    facts = [
        f"{vit.parameters / 1e6:.1f} M parameters",
        f"{len(vit.labels):,} classes" if vit.labels else "features, no classes",
        f"on {str(vit.device).upper()}",
        f"weights from {vit.source}",
    ]
    banner = BANNER if loading.name == "auto" and vit.name == DEMO_MODEL else ""
    return _status("ready", title_of(vit.name), facts, about=f"{vit.name}: {entry.purpose}" if entry else "", banner=banner)


def _status(kind: str, title: str, facts: list[str] = (), share: float | None = None, about: str = "", banner: str = "") -> str:
    return html("model", kind=kind, title=title, facts=facts, share=share, about=about, banner=banner)


def choices(operators: str) -> list[tuple[str, str]]:
    """The catalogue as (text, name) pairs, the operator's own model first where it is not one of them."""
    choices = []
    for each in catalogue.CATALOGUE:
        value = "auto" if operators == "auto" and each.name == DEFAULT_MODEL else each.name
        kind = f"{each.classes:,} classes" if each.classes else "features only"
        where = "comes with the app" if each.name == DEMO_MODEL else f"{each.megabytes:,.0f} MB"
        text = f"{each.title} · {kind} · {where}"
        choices.append((f"{each.title}, or the demo model offline" if value == "auto" else text, value))
    if operators not in [value for _, value in choices]:
        choices.insert(0, (title_of(operators), operators))
    return choices
