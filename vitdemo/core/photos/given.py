"""The photos that a command was given."""

import glob
import itertools
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.names import MAX_FILE_BYTES, one_spelling
from vitdemo.core.photos import remote
from vitdemo.core.photos.gallery import Gallery, Item
from vitdemo.core.photos.search import find_items
from vitdemo.core.terminal import printable

MAX_PLACE_BYTES = 2000  # of a relative path; file systems take 4096 from the root on
Parts = tuple[str, ...]


def photos_given(paths: Iterable[str | Path], settings: Settings) -> Gallery:
    """Find the photos, and print the notes on what was left out. Raises: UserError where there are none, or a zip or URL can't be read."""
    items = find_items(paths, settings)
    if not items:
        why = " ".join(["There are no photos in what you gave: give photos, or a folder or zip that holds some.", *items.notes])
        raise UserError(why)
    for note in items.notes:
        print(f"vitdemo: {printable(note)}", file=sys.stderr)
    return items


def places_for(given: Iterable[str | Path], items: Sequence[Item], suffixes: Collection[str]) -> list[PurePosixPath]:
    """Where the files made of each photo belong in an output folder: relative paths, which still lack their suffixes.

    A place is the photo's path below the folder or zip that was given, or below the one that holds all that was given. No place leads out
    of the output folder. No two are the same, not even to a file system that ignores case: a later one gets a number.

    Args:
        given: what the command was given.
        items: the photos found there.
        suffixes: of the files that are to be made.
    """
    paths = [_parts(item.name) for item in items]
    photos = set(paths)
    roots = [_root(path, photos) for path in given]
    base = sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, zip(*roots, strict=False)))
    places = [_short(PurePosixPath(*map(_fit, (*path[base:-1], _stem(path[-1]))))) for path in paths]
    taken = {_key(folder) for place in places for folder in place.parents}
    counts: Counter[str] = Counter()
    return [_free(place, suffixes, taken, counts) for place in places]


def _parts(name: str) -> Parts:
    parts = PurePosixPath(name if remote.is_url(name) else os.path.abspath(name)).parts
    return tuple(part for part in parts if part != ".." and part.strip("/"))


def _root(path: str | Path, photos: Collection[Parts]) -> Parts:
    """The folder or zip that was given, or that holds the photo or the photos of a pattern that was given."""
    parts = _parts(str(path))
    if parts in photos:
        return parts[:-1]
    return parts if os.path.lexists(path) else tuple(itertools.takewhile(lambda part: not glob.has_magic(part), parts))


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    return stem if stem.strip(".") else name  # that of “...jpg” is “..”


def _fit(name: str) -> str:
    name = name.replace("\0", "�")
    return os.fsencode(name)[:MAX_FILE_BYTES].decode("utf-8", "ignore") if len(os.fsencode(name)) > MAX_FILE_BYTES else name


def _short(place: PurePosixPath) -> PurePosixPath:
    return place if len(os.fsencode(place)) <= MAX_PLACE_BYTES else PurePosixPath(place.name)


def _key(place: PurePosixPath) -> str:
    return one_spelling(str(place)).casefold()


def _free(place: PurePosixPath, suffixes: Collection[str], taken: set[str], counts: Counter[str]) -> PurePosixPath:
    """The place, or the first with a number at which no file and no folder stands; the files at it become `taken`."""
    while True:
        counts[_key(place)] += 1
        number = counts[_key(place)]
        free = place if number == 1 else place.with_name(f"{place.name}-{number}")
        files = {_key(free) + suffix for suffix in suffixes}
        if not files & taken:
            taken |= files
            return free
