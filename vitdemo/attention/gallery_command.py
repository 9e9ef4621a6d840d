"""`python -m vitdemo attention` on many photos: a line, and files where they are asked for, of each."""

import argparse
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.figures import counted, percent
from vitdemo.core.names import shown_name
from vitdemo.core.outputs import check_new_folder
from vitdemo.core.terminal import CLEAR, printable, progress_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from vitdemo.attention.photo import MapMaker, PhotoMap
    from vitdemo.core.photos.gallery import Gallery, Item
    from vitdemo.core.photos.geometry import Geometry
    from vitdemo.core.photos.photo import Photo

SUFFIXES = {"output": ".png", "npz": ".npz"}
FILE_SUFFIXES = (*SUFFIXES.values(), ".jpg", ".jpeg", ".json", ".csv", ".parquet")  # a folder's name is not taken to end like this
AHEAD = 4  # photos decoded and not yet taken: at full size, so few


@dataclass(frozen=True)
class MapRow:
    """One photo's map, or the sentence that says why there is none.

    Attributes:
        path: the photo's name in the results (Item.name).
        made: the map; dropped as soon as it is printed.
    """

    path: str
    made: "PhotoMap | None" = None
    error: str | None = None
    notes: tuple[str, ...] = ()


def is_gallery(flags: argparse.Namespace, items: "Sequence[Item]") -> bool:
    """Whether files are to be written into folders: many photos, or the photos of a folder or zip, or an output without a suffix.

    Raises: UsageError for an output that does not suit the photos.
    """
    alone = len(items) == 1 and not items[0].folder  # a photo given by itself
    given = {flag: path for flag in SUFFIXES if (path := getattr(flags, flag))}
    folders = not alone or any(not path.suffix for path in given.values())
    for flag, path in given.items():
        if folders and path.suffix.lower() in FILE_SUFFIXES:
            why = "beside a folder" if alone else "for many photos"
            raise UsageError(f"--{flag} {path} is one file: {why}, give a folder, such as --{flag} {path.with_suffix('')}.")
        if not folders and path.suffix.lower() != SUFFIXES[flag]:
            raise UsageError(f"--{flag} must end in {SUFFIXES[flag]}.")
    return folders


def check_folders(flags: argparse.Namespace) -> None:
    """Raises: UserError for a folder that holds files or can't be written."""
    for flag in SUFFIXES:
        if path := getattr(flags, flag):
            check_new_folder(path)


def maps_of_gallery(flags: argparse.Namespace, items: "Gallery", maker: "MapMaker", settings: Settings) -> int:
    """Make, write and print the maps of many photos. Ctrl-C keeps what is done. Returns the exit status."""
    from vitdemo.core.photos.prefetch import sum_up

    begin, rows, status = time.monotonic(), [], 0
    clear = CLEAR if sys.stderr.isatty() else ""
    try:
        for row in _rows(flags, items, maker, settings):
            print(clear, end="", file=sys.stderr, flush=True)
            print(_line(row), flush=True)
            if row.made and flags.lens:
                print("\n".join(f"  {line}" for line in maker.lens_lines(row.made)))
            rows.append(replace(row, made=None))
            if clear:
                print(progress_line(len(rows), len(items), time.monotonic() - begin), end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        status = 130
        print(f"\nvitdemo: stopped after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    except UserError as error:  # such as a full disk: what is done stays
        if not rows:
            raise
        status = 1
        print(f"\nvitdemo: {error} This was after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    print(clear, end="", file=sys.stderr)
    for note in sum_up(row.notes for row in rows):
        print(f"vitdemo: {note}", file=sys.stderr)
    done = sum(row.error is None for row in rows)
    places = " and ".join(dict.fromkeys(str(path) for flag in SUFFIXES if (path := getattr(flags, flag))))
    if places:
        print(f"maps of {counted(done, 'photo')} in {places}, files with errors: {len(rows) - done}", file=sys.stderr)
    return status or (0 if done else 1)


def _rows(flags: argparse.Namespace, items: "Gallery", maker: "MapMaker", settings: Settings) -> Generator[MapRow, None, None]:
    """Make and write one photo's map after the other. Raises: UserError where a file can't be written, or the first map can't be made."""
    from vitdemo.attention.files import write_npz, write_png
    from vitdemo.core.photos.given import places_for
    from vitdemo.core.photos.photo import decode
    from vitdemo.core.photos.prefetch import photos_ahead

    preprocessing, patch = maker.vit.preprocessing, maker.vit.patch
    places = places_for(flags.image, items, SUFFIXES.values())

    def prepare(photo: "Photo") -> "tuple[torch.Tensor, Geometry, Image.Image | None]":
        geometry = preprocessing.geometry(photo.image.size, patch)
        return preprocessing(photo.image), geometry, photo.image if flags.output else None

    def file_at(folder: Path, suffix: str) -> Path:
        return folder / f"{places[photo.index]}{suffix}"

    done = False
    with closing(photos_ahead(items, prepare, settings, ahead=AHEAD)) as ready:
        for photo in ready:
            path = photo.item.name
            if photo.error:
                yield MapRow(path, error=photo.error)
                continue
            # nothing is kept of a photo, so a copy of one is opened again
            tensor, geometry, image = photo.made or prepare(decode(photo.item.read(settings), photo.item.shown, settings))
            try:
                made = maker.make(tensor, geometry)
            except UserError as error:
                if not (done or flags.rival):  # the model can't make such maps; a rival may be a photo's own class
                    raise
                yield MapRow(path, error=str(error))
                continue
            if flags.npz:
                write_npz(file_at(flags.npz, ".npz"), maker.numbers(made))
            if flags.output and image:
                write_png(file_at(flags.output, ".png"), image, made.heat, geometry, signed=made.question.signed)
            done = True
            yield MapRow(path, made, notes=(*photo.notes, *made.notes))


def _line(row: MapRow) -> str:
    """A photo's line: its path, then the class with its probability and the highest patch, or the reason why there is no map."""
    if row.made is None:
        return f"{printable(row.path)}: {row.error}"
    told = [f"highest in {row.made.hottest}"]
    if answer := row.made.answer:
        after = f", {percent(answer.after)} without the heads" if row.made.moves else ""
        told = [f"{shown_name(answer.label.short)} {percent(answer.before)}{after}", *told]
    return f"{printable(row.path)}: {', '.join(told)}"
