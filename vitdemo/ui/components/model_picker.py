"""The top of the page: which model answers, what is loaded and where it came from, light or dark."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import gradio as gr

from vitdemo.core.config import ASSETS, DEFAULT_MODEL, DEMO_MODEL
from vitdemo.core.inference.model_store import Loading, ModelStore
from vitdemo.core.models import catalogue
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.errors import user_message
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.model_loading import POLL_SECONDS, progress_text
from vitdemo.ui.templating import html, panel, static_text

ICON = (ASSETS / "icon.svg").read_text("utf-8")
BANNER = (
    "ViT-B/16 could not be fetched: the demo model answers. It knows 21 drawn things, not ImageNet's thousand. "
    "For ViT-B/16, start again with a network."
)


@dataclass(frozen=True)
class ModelPicker:
    """What the tabs need of the header: the picker, whose value goes into every event that runs a model."""

    picker: gr.Dropdown
    status: gr.HTML


def build(store: ModelStore) -> ModelPicker:
    """Lay out the header. The tabs' events keep its status line true while they wait for a model."""
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
    """Keep the status line true while a tab is open whose own events don't ask the model."""
    names = {each.tab.id for each in tabs}

    async def look(request: gr.Request, name: str, active: str) -> AsyncIterator:
        newest = latest.take(request.session_hash or "")
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
        yield None, None, _status("failed", user_message(error))
        return
    while not loading.done.is_set():
        text, share = progress_text(loading)
        yield text, share, _status("busy", text, share=share)
        await asyncio.sleep(POLL_SECONDS)
    yield None, None, _arrived(loading)


def _arrived(loading: Loading) -> str:
    if loading.vit is None:
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
    return _status("ready", title_of(vit.name), facts, about=f"{vit.name}: {entry.purpose}" if entry else "", banner=banner)


def _status(kind: str, title: str, facts: list[str] = (), share: float | None = None, about: str = "", banner: str = "") -> str:
    return html("components/model_status", kind=kind, title=title, facts=facts, share=share, about=about, banner=banner)


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
