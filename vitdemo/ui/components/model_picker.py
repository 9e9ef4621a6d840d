"""The header: the model picker, a chip with the state of the loaded model, the switch between light and dark, and the tour."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.config import ASSETS, DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.figures import percent
from vitdemo.core.inference.loading import Loading
from vitdemo.core.inference.model_store import VISITORS_PRECISIONS, ModelStore
from vitdemo.core.models import catalogue
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.samples import suit_drawings
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.model_loading import POLL_SECONDS, progress_text
from vitdemo.ui.sessions.photo_requests import Waiting
from vitdemo.ui.templating import html, panel, script

if TYPE_CHECKING:
    import torch

ICON = (ASSETS / "icon.svg").read_text("utf-8")


@dataclass(frozen=True)
class ModelPicker:
    """What the tabs need of the header.

    Attributes:
        picker: the model's name; an input of every event that runs a model.
        status: the chip.
        retried: has tried again to load the model, or selected another precision; the tabs' events follow it.
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
            value=settings.public_model,
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

    def chip(name: str, event: gr.EventData) -> Any:
        """Try again to load the model, or select it in another precision: {precision, title}."""
        asked = event_payload(event)
        precision = asked.get("precision")
        if precision not in (*VISITORS_PRECISIONS, settings.precision) or settings.lock_model:
            retry(name)
            return gr.skip()
        pairs = choices(settings, precision)
        plain = store.parts_of(name)[0]
        value = in_precision(settings, settings.public_model if plain == settings.model else plain, precision)
        if value not in [other for _, other in pairs]:  # a fine-tuned model, which is this visitor's own
            pairs.insert(0, (str(asked.get("title")), value))
        return gr.update(choices=pairs, value=value)

    return ModelPicker(picker, status, status.select(chip, picker, picker, queue=False, preprocess=False, **quiet))


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
        yield Waiting(text, share, _status("busy", percent(share, 0) if share else "Loading", [text], share=share))
        await asyncio.sleep(POLL_SECONDS)
    yield Waiting(status=_arrived(loading, store, name))


def _arrived(loading: Loading, store: ModelStore, name: str) -> str:
    if loading.vit is None:
        assert loading.error is not None  # a load ends with a model or an error
        return _status("failed", "Not loaded", [user_message(loading.error)], retry=True)
    vit, (plain, asked) = loading.vit, store.parts_of(name)
    choice: dict[str, Any] = {"precision": asked, "precisions": precisions(store.settings, vit.device)}
    entry = catalogue.find(vit.name)
    device, precision = str(vit.device).upper(), vit.precision
    facts = [
        vit.title,
        f"{vit.parameters / 1e6:.1f} M parameters",
        f"{len(vit.labels):,} classes" if vit.labels else "features, no classes",
        f"on {device} in {precision}",
        f"weights from {vit.source}",
        *vit.notes,
    ]
    if not (choice["precisions"] or store.settings.lock_model):
        from vitdemo.core.inference.precision import slow_on

        facts.append(slow_on(vit.device, "bf16"))
    kind = "ready of-drawings" if suit_drawings(vit) else "ready"  # which orders the sample images
    about = f"{vit.name}: {entry.purpose}" if entry else ""
    if loading.instead and plain != DEMO_MODEL:
        return _status(f"{kind} instead", "Offline: demo model", facts, about=about, warning=instead_text(loading), retry=True, **choice)
    return _status(kind, f"{device} · {precision}", facts, about=about, **choice)


def precisions(settings: Settings, device: "torch.device") -> Sequence[str]:
    """The precisions from which a visitor may choose; none where there is no choice, as fp32 is the fastest or the operator's is locked."""
    from vitdemo.core.inference.precision import slow_on

    if settings.lock_model or (settings.precision == "fp32" and slow_on(device, "bf16")):
        return ()
    return tuple(dict.fromkeys((*VISITORS_PRECISIONS, settings.precision)))


def instead_text(loading: Loading) -> str:
    """Why the demo model answers in another one's place, and what to do."""
    return (
        f"{loading.instead} Until then the demo model answers, which knows 21 drawn things, not ImageNet's thousand. "
        "Without a network: README, “Offline”."
    )


def _status(
    kind: str,
    title: str,
    facts: Sequence[str] = (),
    share: float | None = None,
    about: str = "",
    warning: str = "",
    retry: bool = False,
    precision: str = "",
    precisions: Sequence[str] = (),
) -> str:
    values = {"kind": kind, "title": title, "facts": facts, "share": share, "about": about, "warning": warning, "retry": retry}
    return html("components/model_status", **values, precision=precision, precisions=precisions)


def choices(settings: Settings, precision: str = "") -> list[tuple[str, str]]:
    """The catalogue as (text, name) pairs: what each model is, whether it is on this machine, and what it is good for. The operator's own
    model comes first if the catalogue does not have it. With a precision other than the operator's, all names end in it."""
    pairs, operators = [], settings.public_model
    for entry in catalogue.CATALOGUE:
        value = "auto" if operators == "auto" and entry.name == DEFAULT_MODEL else entry.name
        kind = f"{entry.classes:,} classes" if entry.classes else "features only"
        here = catalogue.is_here(entry) or (entry.name == operators and settings.checkpoint is not None)
        where = "on this machine" if here else f"{entry.megabytes:,.0f} MB to fetch{f' under {entry.licence}' * bool(entry.terms)}"
        pairs.append((f"{entry.title} · {kind} · {where} · {entry.purpose}", value))
    if operators not in [value for _, value in pairs]:
        pairs.insert(0, (title_of(operators), operators))
    return [(text, in_precision(settings, name, precision)) for text, name in pairs]


def in_precision(settings: Settings, name: str, precision: str) -> str:
    """The name by which the store knows a model in a precision; an empty one is the operator's."""
    return name if precision in ("", settings.precision) else f"{name}@{precision}"
