"""Galleries: photos from files, folders, zips, URLs and uploads, each with the name people know it by. None of them is opened yet.

A zip is read where it lies, a member at a time, and nothing of it is written to disk.
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
from vitdemo.core.photos.photo import SUFFIXES, read, read_from, shown_name

MAX_ZIP_RATIO = 100  # times its own size that a zip of photos, which hardly shrink, may unpack to
MAX_FOLDER_DEPTH = 8  # folders kept of a name
MAX_ZIP_INDEX_BYTES = 16_000_000  # bytes of an uploaded zip's list of entries, which comes to six times that in memory: over 100,000 names
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack all they have at once, whatever size the entry claims


@dataclass(frozen=True)
class Item:
    """One file of a gallery.

    Attributes:
        path: where it lies; the zip, for one that lies in a zip.
        name: what results call it: on the command line a path that opens as printed, else the visitor's name for it, with its folders.
        folder: the name of the folder it lies in, which may be its label; empty for a file given by itself.
        archive, member, number: the zip, the entry in it, and its place among that zip's photos.
        url: where it lies instead of `path`, for one that fsspec reads.
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
        """The file's own name, for a sentence."""
        return shown_name(PurePosixPath(self.name).name)

    def read(self, settings: Settings) -> bytes:
        """The file's bytes. Raises: UserError where they can't be had."""
        if self.url:
            return remote.read(self.url, self.shown, settings)
        if self.archive is None:
            return read(self.path, self.shown, settings)
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
    """Every file given, and every photo in every folder or zip given, in a stable order; hidden files and other kinds are passed over.

    A name that is no file may be a pattern, such as `photos/**/*.jpg`, or a URL that fsspec reads, with or without a pattern, such as
    `s3://bucket/photos`. Zips that lie in a folder count as folders; a damaged one is an item that can't be read.

    Raises: UserError for a zip or a URL that was given and can't be read.
    """
    found = []
    for given in paths:
        if remote.is_url(given):
            found += _at_url(given)
        elif not os.path.lexists(given) and glob.has_magic(str(given)):
            for each in sorted(glob.glob(str(given), recursive=True)):
                if (os.path.isdir(each) and "**" not in str(given)) or each.lower().endswith((".zip", *SUFFIXES)):
                    found += _at_path(Path(each))
        else:
            found += _at_path(Path(given))
    return found


def _at_path(path: Path) -> Iterable[Item]:
    if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that nothing can have
        return _in_folder(path)
    if path.suffix.lower() == ".zip":
        return zip_items(path, str(path))
    return [Item(path, str(path))]


def _at_url(url: str) -> Iterator[Item]:
    for each in remote.photos_at(url, _is_photo):
        name = PurePosixPath(each.name)
        yield Item(Path(name.name), each.name, name.parent.name if each.inside else "", url=each.url)


def uploaded_items(files: Iterable[tuple[str, Path]], settings: Settings, *, command: str = "classify") -> list[Item]:
    """The photos of an upload, sorted by name; a zip stands for the photos in it.

    Args:
        files: the names they had at the visitor's, with their folders, and where they lie now. A name with a folder in it came with that
            folder, so hidden files and other kinds are passed over.
        command: of ours, that takes more than a visitor may give.

    Raises: UserError for none, for too many, and for a zip that can't be read.
    """
    found, count = [], 0
    for name, path in files:
        name = clean_name(name)
        if name.lower().endswith(".zip"):
            more = zip_items(path, name, MAX_ZIP_INDEX_BYTES)
        else:
            more = [Item(path, name, PurePosixPath(name).parent.name)] if "/" not in name or _is_photo(name) else []
        count += len(more)
        if count <= settings.max_gallery:  # beyond it they are only counted
            found += more
    if not count:
        raise UserError("There are no photos in what you gave: give photos, a folder or a zip that holds some.")
    if count > settings.max_gallery:
        raise UserError(
            f"These are {count:,} photos, and the limit here is {settings.max_gallery:,}: choose fewer, or run "
            f"“python -m vitdemo {command} FOLDER” on the command line, which has no limit."
        )
    return sorted(found, key=lambda item: item.name)


def spread_evenly(items: list[Item], most: int) -> list[Item]:
    """At most so many, from all over the list: galleries are sorted by folder."""
    return [items[index * len(items) // most] for index in range(most)] if len(items) > most else items


def clean_name(name: str) -> str:
    """A visitor's name for a file as one line: no way up, no drive, no odd characters, the last few folders."""
    parts = [shown_name(part, 120) for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    return "/".join(parts[-1 - MAX_FOLDER_DEPTH :]) or "unnamed"


def _in_folder(path: Path) -> Iterator[Item]:
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for each in sorted(files):
            file = Path(folder, each)
            if _is_photo(each):
                yield Item(file, str(file), file.absolute().parent.name)
            elif each.lower().endswith(".zip") and not each.startswith("."):
                try:
                    yield from zip_items(file, str(file))
                except UserError:  # a row of its own that says so, and the folder goes on
                    yield Item(file, str(file), file.absolute().parent.name)


class _LazyFile:
    """A file that is open only while something is read from it: zips hold no file open, however many there are.

    Args:
        largest: bytes asked for at once that are too many.
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
        there = max(0, self._size - self._at)
        size = there if size is None or size < 0 else min(size, there)
        if size > self.largest:
            raise _IndexTooLarge
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            data = file.read(size)
        self._at += len(data)
        return data


class _IndexTooLarge(Exception):
    pass


def zip_items(path: Path, name: str, largest_index: float = math.inf) -> list[Item]:
    """The photos in a zip, in its order.

    Args:
        name: what the zip is called.
        largest_index: bytes of its list of entries that are too many.

    Raises: UserError for one that can't be read.
    """
    shown = shown_name(PurePosixPath(name).name)
    try:
        file = _LazyFile(path, largest_index)
        archive = zipfile.ZipFile(file)  # reads the index in one piece
    except FileNotFoundError:
        raise UserError(f"“{shown}” is not there: check its name, or add it again.") from None
    except _IndexTooLarge:
        raise UserError(f"“{shown}” lists far more files than a zip of photos does: give the photos themselves.") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"“{shown}” is damaged or no zip: make it again.") from None
    file.largest = math.inf
    members = [each for each in archive.infolist() if _is_photo(clean_name(each.filename)) and not each.is_dir()]
    archive.filelist.clear()  # what is no photo needn't be remembered
    archive.NameToInfo.clear()
    if sum(each.file_size for each in members) > MAX_ZIP_RATIO * path.stat().st_size:
        raise UserError(
            f"“{shown}” unpacks to more than {MAX_ZIP_RATIO} times its size, which no zip of photos does: give the photos themselves."
        )
    items = []
    for number, each in enumerate(members):
        inside = clean_name(each.filename)
        items.append(Item(path, f"{name}/{inside}", PurePosixPath(inside).parent.name, archive, each, number))
    return items


def _is_photo(name: str) -> bool:
    *folders, file = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in (*folders, file))
    return not hidden and file.lower().endswith(SUFFIXES)
