"""Classify many photos: files, a folder or a zip become a table that can be sorted, filtered, opened and downloaded.

The page's script polls for new rows while the gallery runs, and draws the table.
"""

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.templating import html


def build(store: ModelStore) -> None:
    """Lay out the panel."""
    gallery_upload.build(
        "gallery",
        store,
        tab="classify",
        lead="Folders named like classes give accuracy as well.",
        command="classify",
        markup=html("classify/gallery"),
        module="classify/gallery",
    )
