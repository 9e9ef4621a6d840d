"""The photos that a command was given."""

import sys
from collections.abc import Iterable
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Gallery
from vitdemo.core.photos.search import find_items
from vitdemo.core.terminal import printable


def photos_given(paths: Iterable[str | Path], settings: Settings) -> Gallery:
    """Find the photos, and print the notes on what was left out. Raises: UserError where there are none, or a zip or URL can't be read."""
    items = find_items(paths, settings)
    if not items:
        why = " ".join(["There are no photos in what you gave: give photos, or a folder or zip that holds some.", *items.notes])
        raise UserError(why)
    for note in items.notes:
        print(f"vitdemo: {printable(note)}", file=sys.stderr)
    return items
