"""Waiting for a model that is loading: how far it has come in words, and its arrival."""

import asyncio
from typing import TYPE_CHECKING

from vitdemo.core.inference.model_store import Loading, ModelStore
from vitdemo.core.models.catalogue import title_of

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

POLL_SECONDS = 0.25  # seconds between two looks at a model that is loading


async def arrived(store: ModelStore, name: str, visitor: str = "") -> "Vit":
    """The model of that name, the operator's own if it is empty, once it is there; waiting holds no thread.

    Raises: UserError where it can't be had.
    """
    loading = store.get(name or None, visitor)
    while not loading.done.is_set():
        await asyncio.sleep(POLL_SECONDS)
    return loading.result()


def progress_text(loading: Loading) -> tuple[str, float | None]:
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
