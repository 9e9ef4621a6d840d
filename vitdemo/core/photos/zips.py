"""Zips of photos, read in place: one member at a time, and never unpacked to disk."""

import errno
import math
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.photo import read_from

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the other methods unpack an entry at once, whatever size it claims
LOCKED = 1  # flag bit of a member with a password
UNIX = 3  # create_system of a member whose attributes are those of Unix


def open_zip(source: Path | IO[bytes], shown: str, largest_index: float = math.inf) -> zipfile.ZipFile:
    """Open a zip.

    Args:
        source: the zip's path, or an open file, such as one on another machine.
        shown: the zip's name in messages.
        largest_index: most bytes of the list of entries of a zip that is given by its path.

    Raises: UserError for a zip that can't be read.
    """
    try:
        file = _LazyFile(source, largest_index) if isinstance(source, Path) else source
        archive = zipfile.ZipFile(file)  # reads the list of entries in one piece
    except FileNotFoundError:
        raise UserError(f"“{shown}” is not there: check its name, or add it again.") from None
    except _IndexTooLarge:
        raise UserError(f"“{shown}” lists far more files than a zip of photos does: give the photos themselves.") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"“{shown}” is damaged or no zip: make it again.") from None
    if isinstance(file, _LazyFile):
        file.largest = math.inf
    return archive


def is_link(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a symbolic link. Links in a zip are never followed."""
    return member.create_system == UNIX and stat.S_ISLNK(member.external_attr >> 16)


def is_readable(member: zipfile.ZipInfo) -> bool:
    """Whether a member has no password, and is packed by a method that is read here."""
    return not member.flag_bits & LOCKED and member.compress_type in METHODS


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str, settings: Settings) -> bytes:
    """Return a member's bytes.

    Raises: UserError where the member can't be read, is empty or is too large; OSError where the zip can't be read.
    """
    if member.flag_bits & LOCKED:
        raise UserError(f"“{shown}” is locked with a password: unpack the zip and give the photos.")
    if member.compress_type not in METHODS:
        raise UserError(f"“{shown}” is packed by a method that isn't read here: make an ordinary zip.")
    try:
        with archive.open(member) as file:
            return read_from(file, shown, settings)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise UserError(f"“{shown}” is damaged in the zip: make the zip again.") from None


class _LazyFile:
    """A file that is open only during a read, so that a ZipFile doesn't keep its file open.

    Args:
        path: the file.
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
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # as a file does; zipfile looks there in an empty zip
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
