"""A gallery: photos in a stable order, each with its name, and notes on what was left out."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_name
from vitdemo.core.photos import remote
from vitdemo.core.photos.photo import read
from vitdemo.core.photos.zips import read_member


@dataclass(frozen=True)
class Item:
    """One file of a gallery.

    Attributes:
        path: the file; for a photo in a zip, the zip.
        name: the file's name in results: on the command line a path that opens as printed, for an upload the visitor's name with folders.
        folder: the name of the file's folder, or of the zip that it lies in, which may be its label; empty for a file given by itself.
        archive, member, number: for a photo in a zip, the zip, the entry in it, and its index among that zip's photos.
        url: for a file that fsspec reads, its URL, which then replaces `path`; for a photo in a zip there, the zip's.
        error: why the file can't be read, where that is known already.
    """

    path: Path
    name: str
    folder: str = ""
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None
    number: int = 0
    url: str = ""
    error: str = ""

    @property
    def shown(self) -> str:
        """The file's name without folders, for messages."""
        return shown_name(PurePosixPath(self.name).name)

    def read(self, settings: Settings) -> bytes:
        """Return the file's bytes. Raises: UserError where the file can't be read."""
        if self.error:
            raise UserError(self.error)
        if self.archive is None:
            return remote.read(self.url, self.shown, settings) if self.url else read(self.path, self.shown, settings)
        assert self.member is not None  # it comes with the archive
        reading = partial(read_member, self.archive, self.member, self.shown, settings)
        if self.url:
            return remote.retried(reading, self.url, self.shown)
        try:
            return reading()
        except FileNotFoundError:
            raise UserError(f"The zip that “{self.shown}” lies in is not there any more: add it again.") from None
        except OSError:
            raise UserError(f"“{self.shown}” is damaged in the zip: make the zip again.") from None


class Gallery(list[Item]):
    """The photos found, in a stable order.

    Attributes:
        notes: what was left out or guessed on the way, one sentence each.
    """

    def __init__(self, items: Iterable[Item] = (), notes: Iterable[str] = ()):
        super().__init__(items)
        self.notes = list(notes)


def spread_evenly(items: list[Item], most: int) -> list[Item]:
    """Return at most `most` items, evenly spread over the list: galleries are sorted by folder, so this takes some from every folder."""
    return [items[index * len(items) // most] for index in range(most)] if len(items) > most else items
