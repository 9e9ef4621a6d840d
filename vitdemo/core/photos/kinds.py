"""Which files are photos: by the name where that says so, else by the content; and a count of those that are none."""

import os
import re
import stat
from collections import Counter
from itertools import accumulate
from pathlib import PurePosixPath
from typing import IO

from vitdemo.core.names import shown_name
from vitdemo.core.photos.decoding import heic
from vitdemo.core.photos.decoding.formats import SUFFIXES

_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftypavi[fs]"
    rb"|\0\0\0\x0cjP {2}\r\n|\xff\x4f\xff\x51|P[1-6]\s+(#|\d)",
    re.DOTALL,
)
MAX_SUFFIXES_NAMED = 6  # of the files that are left out
MAX_FOLDERS_NAMED = 3
HIDDEN = "hidden"
_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})(?:$|[^a-z0-9.\s/][^./]*$)", re.IGNORECASE)


def named_as_photo(name: str) -> bool:
    """Whether a file's name says that it is a photo, such as `a.JPG`, or `a.jpg_large` and `a.jpg?w=640` of a download."""
    return _SUFFIX.search(name) is not None


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders is hidden, or made by macOS beside the files of a zip."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def holds_photo(file: str | os.PathLike | IO[bytes]) -> bool:
    """Whether a file begins as a photo of an accepted format does. Only its first bytes are read. Never raises."""
    try:
        if isinstance(file, str | os.PathLike):
            if not stat.S_ISREG(os.stat(file).st_mode):
                return False  # opening a pipe would wait for its other end
            with open(file, "rb") as opened:
                return holds_photo(opened)
        head = file.read(heic.HEAD)
        return _BEGINNING.match(head) is not None or heic.is_heic(head)
    except Exception:  # a member of a zip may fail in many ways
        return False


class LeftOut:
    """Counts the files that are not taken as photos, and the folders that no photo was taken from."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self._with_photos: set[str] = set()
        self._folders: dict[str, None] = {}  # in the order met

    @property
    def count(self) -> int:
        """Number of files left out."""
        return self.files.total()

    def file(self, path: str, kind: str = "") -> None:
        """Count a file, by its suffix unless `kind` says what it is."""
        suffix = PurePosixPath(path).suffix.lower()
        self.files[kind or (shown_name(suffix, 24) if suffix else "without a suffix")] += 1
        if kind != HIDDEN:
            self.folder(path.rpartition("/")[0])

    def folder(self, path: str) -> None:
        """Note a folder, which may turn out to have no photos."""
        if path not in ("", "."):
            self._folders[path] = None

    def photo(self, path: str) -> None:
        """Note that a photo was taken from the folders in this path."""
        folder = path.rpartition("/")[0]
        while folder and folder not in self._with_photos:
            self._with_photos.add(folder)
            folder = folder.rpartition("/")[0]

    def notes(self) -> list[str]:
        """At most two sentences: the files left out, and the folders that have no photos."""
        notes = []
        if self.count:
            named = sorted(self.files.items(), key=lambda each: (-each[1], each[0]))[:MAX_SUFFIXES_NAMED]
            kinds = [f"{count:,} {kind}" for kind, count in named]
            more = self.count - sum(count for _, count in named)
            kinds += [f"{more:,} more"] if more else []
            files = "file that is no photo is" if self.count == 1 else "files that are no photos are"
            notes.append(f"{self.count:,} {files} left out ({', '.join(kinds)}).")
        bare = [path for path in self._folders if path not in self._with_photos]
        bare = [path for path, inside in zip(bare, _within(bare), strict=True) if not inside]
        if bare:
            names = ", ".join(f"“{shown_name(PurePosixPath(path).name)}”" for path in bare[:MAX_FOLDERS_NAMED])
            more_folders = f" and {len(bare) - MAX_FOLDERS_NAMED:,} more folders" if len(bare) > MAX_FOLDERS_NAMED else ""
            notes.append(f"No photo was found in {names}{more_folders}.")
        return notes


def _within(folders: list[str]) -> list[bool]:
    """Whether each of these folders lies in another of them."""
    known = set(folders)
    return [any(parent in known for parent in accumulate(folder.split("/")[:-1], "{}/{}".format)) for folder in folders]
