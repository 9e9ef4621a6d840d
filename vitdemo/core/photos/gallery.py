"""Galleries: photos from files, folders, zips, URLs and uploads, each with its name for people. No photo is opened here.

A zip is read in place, one member at a time, and never unpacked to disk.
"""

import glob
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos import remote
from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.core.photos.photo import read, read_from, shown_name

MAX_ZIP_RATIO = 100  # unpacked size over zip size; photos hardly shrink in a zip, so a higher ratio means a zip bomb
MAX_FOLDER_DEPTH = 8  # folders that are kept in a name
MAX_ZIP_INDEX_BYTES = 16_000_000  # an uploaded zip's list of entries; it takes six times that in memory, and holds over 100,000 names
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the other methods unpack an entry at once, whatever size it claims


@dataclass(frozen=True)
class Item:
    """One file of a gallery.

    Attributes:
        path: the file; for a photo in a zip, the zip.
        name: the file's name in results: on the command line a path that opens as printed, for an upload the visitor's name with folders.
        folder: the name of the file's folder, which may be its label; empty for a file given by itself.
        archive, member, number: for a photo in a zip, the zip, the entry in it, and its index among that zip's photos.
        url: for a file that fsspec reads, its URL, which then replaces `path`.
    """

    path: Path
    name: str
    folder: str = ""
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None
    number: int = 0
    url: str = ""

    @property
    def shown(self) -> str:
        """The file's name without folders, for messages."""
        return shown_name(PurePosixPath(self.name).name)

    def read(self, settings: Settings) -> bytes:
        """Return the file's bytes. Raises: UserError where the file can't be read."""
        if self.url:
            return remote.read(self.url, self.shown, settings)
        if self.archive is None:
            return read(self.path, self.shown, settings)
        assert self.member is not None  # it comes with the archive
        if self.member.flag_bits & 1:
            raise UserError(f"“{self.shown}” is locked with a password: unpack the zip and give the photos.")
        if self.member.compress_type not in ZIP_METHODS:
            raise UserError(f"“{self.shown}” is packed by a method that isn't read here: make an ordinary zip.")
        try:
            with self.archive.open(self.member) as file:
                return read_from(file, self.shown, settings)
        except FileNotFoundError:
            raise UserError(f"The zip that “{self.shown}” lies in is not there any more: add it again.") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
            raise UserError(f"“{self.shown}” is damaged in the zip: make the zip again.") from None


def find_items(paths: Iterable[str | Path]) -> list[Item]:
    """List every named file, and every photo in every named folder or zip, in a stable order.

    Folders and zips are searched for photos; hidden files and other kinds are skipped. A name that is no file may be a pattern, such as
    `photos/**/*.jpg`, or a URL that fsspec reads, with or without a pattern, such as `s3://bucket/photos`. A zip in a folder counts as a
    folder; a damaged zip in a folder becomes an item that can't be read.

    Raises: UserError for a named zip or URL that can't be read.
    """
    items: list[Item] = []
    for path in paths:
        if remote.is_url(path):
            items += _at_url(str(path))
        elif not os.path.lexists(path) and glob.has_magic(str(path)):
            for match in sorted(glob.glob(str(path), recursive=True)):
                if (os.path.isdir(match) and "**" not in str(path)) or match.lower().endswith((".zip", *SUFFIXES)):
                    items += _at_path(Path(match))
        else:
            items += _at_path(Path(path))
    return items


def _at_path(path: Path) -> Iterable[Item]:
    if os.path.isdir(path):  # unlike Path.is_dir, it raises nothing for an impossible name
        return _in_folder(path)
    if path.suffix.lower() == ".zip":
        return zip_items(path, str(path))
    return [Item(path, str(path))]


def _at_url(url: str) -> Iterator[Item]:
    for photo in remote.photos_at(url, _is_photo):
        name = PurePosixPath(photo.name)
        yield Item(Path(name.name), photo.name, name.parent.name if photo.inside else "", url=photo.url)


def uploaded_items(files: Iterable[tuple[str, Path]], settings: Settings, *, command: str = "classify") -> list[Item]:
    """List the photos of an upload, sorted by name; a zip is replaced by the photos in it.

    Args:
        files: each file's name on the visitor's machine, with folders, and its path here. A file whose name has a folder belongs to an
            uploaded folder, where hidden files and other kinds are skipped.
        command: the command that takes larger galleries than an upload, for the error message.

    Raises: UserError for no photos, for too many, and for a zip that can't be read.
    """
    items, count = [], 0
    for name, path in files:
        name = clean_name(name)
        if name.lower().endswith(".zip"):
            more = zip_items(path, name, MAX_ZIP_INDEX_BYTES)
        else:
            more = [Item(path, name, PurePosixPath(name).parent.name)] if "/" not in name or _is_photo(name) else []
        count += len(more)
        if count <= settings.max_gallery:  # photos beyond the limit are only counted
            items += more
    if not count:
        raise UserError("There are no photos in what you gave: give photos, a folder or a zip that holds some.")
    if count > settings.max_gallery:
        raise UserError(
            f"These are {count:,} photos, and the limit here is {settings.max_gallery:,}: choose fewer, or run "
            f"“python -m vitdemo {command} FOLDER” on the command line, which has no limit."
        )
    return sorted(items, key=lambda item: item.name)


def spread_evenly(items: list[Item], most: int) -> list[Item]:
    """Return at most `most` items, evenly spread over the list: galleries are sorted by folder, so this takes some from every folder."""
    return [items[index * len(items) // most] for index in range(most)] if len(items) > most else items


def clean_name(name: str) -> str:
    """Return a visitor's file name as one safe line: without `..`, drive and unprintable characters, with the last few folders."""
    parts = [shown_name(part, 120) for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    return "/".join(parts[-1 - MAX_FOLDER_DEPTH :]) or "unnamed"


def _in_folder(path: Path) -> Iterator[Item]:
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for filename in sorted(files):
            file = Path(folder, filename)
            if _is_photo(filename):
                yield Item(file, str(file), file.absolute().parent.name)
            elif filename.lower().endswith(".zip") and not filename.startswith("."):
                try:
                    yield from zip_items(file, str(file))
                except UserError:  # a damaged zip becomes one item, whose row reports the error
                    yield Item(file, str(file), file.absolute().parent.name)


class _LazyFile:
    """A file that is open only during a read, so that a ZipFile doesn't keep its file open.

    Args:
        largest: most bytes of one read; a longer read raises `_IndexTooLarge`.
    """

    def __init__(self, path: Path, largest: float):
        self._path, self._size, self._at, self.largest = path, path.stat().st_size, 0, largest

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if self._at < 0:
            raise ValueError("a place before the file's beginning")
        return self._at

    def read(self, size: int = -1) -> bytes:
        remaining = max(0, self._size - self._at)
        size = remaining if size is None or size < 0 else min(size, remaining)
        if size > self.largest:
            raise _IndexTooLarge
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            data = file.read(size)
        self._at += len(data)
        return data


class _IndexTooLarge(Exception):
    """A zip's list of entries is larger than allowed."""


def zip_items(path: Path, name: str, largest_index: float = math.inf) -> list[Item]:
    """List the photos in a zip, in the zip's order.

    Args:
        name: the zip's name in results and messages.
        largest_index: most bytes of the zip's list of entries.

    Raises: UserError for a zip that can't be read, or looks like a zip bomb.
    """
    shown = shown_name(PurePosixPath(name).name)
    try:
        file = _LazyFile(path, largest_index)
        archive = zipfile.ZipFile(file)  # reads the list of entries in one piece
    except FileNotFoundError:
        raise UserError(f"“{shown}” is not there: check its name, or add it again.") from None
    except _IndexTooLarge:
        raise UserError(f"“{shown}” lists far more files than a zip of photos does: give the photos themselves.") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"“{shown}” is damaged or no zip: make it again.") from None
    file.largest = math.inf
    members = [member for member in archive.infolist() if _is_photo(clean_name(member.filename)) and not member.is_dir()]
    archive.filelist.clear()  # frees the entries that are not photos
    archive.NameToInfo.clear()
    if sum(member.file_size for member in members) > MAX_ZIP_RATIO * path.stat().st_size:
        raise UserError(
            f"“{shown}” unpacks to more than {MAX_ZIP_RATIO} times its size, which no zip of photos does: give the photos themselves."
        )
    items = []
    for number, member in enumerate(members):
        inside = clean_name(member.filename)
        items.append(Item(path, f"{name}/{inside}", PurePosixPath(inside).parent.name, archive, member, number))
    return items


def _is_photo(name: str) -> bool:
    *folders, file = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in (*folders, file))
    return not hidden and file.lower().endswith(SUFFIXES)
