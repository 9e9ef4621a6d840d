"""Wait for a model that is loading, and describe its progress."""

import asyncio
from typing import TYPE_CHECKING

from vitdemo.core.inference.loading import Loading
from vitdemo.core.inference.model_store import ModelStore

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

POLL_SECONDS = 0.25  # between two polls of a loading model


async def arrived(store: ModelStore, name: str, visitor: str = "") -> "Vit":
    """Wait for the model of this name, or for the operator's own if the name is empty. Waiting holds no thread.

    Raises: UserError where the model can't be loaded.
    """
    loading = store.get(name or None, visitor)
    while not loading.done.is_set():
        await asyncio.sleep(POLL_SECONDS)
    return loading.result()


def progress_text(loading: Loading) -> tuple[str, float | None]:
    """The status text of a loading model, and the downloaded share, 0 … 1, where that is known."""
    title, progress = loading.title, loading.progress
    if progress is None:
        return f"Getting ready to load {title} …", None
    if progress.stage == "contact":
        return f"Asking the model hub for {title} …", None
    if progress.stage == "download":
        size = f"{progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else f"{progress.done / 1e6:.0f} MB"
        return f"Downloading {title}: {size}", progress.done / progress.total if progress.total else None
    return f"Loading {title} …", None
