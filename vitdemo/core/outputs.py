"""Output files: check before the work starts that they can be written, and make text safe to write."""

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

from vitdemo.core.errors import UsageError, UserError

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # characters that start a formula in a spreadsheet


def check_writable(path: Path) -> None:
    """Make the parent folders of a file and check that the file can be written.

    Raises: UserError where the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(path, error) from None


def check_new_folder(folder: Path) -> None:
    """Check that files can be written to this folder, that it is new or empty, and make the folders above it.

    Raises: UserError for a folder that holds files or can't be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: give a folder that is new or empty.")
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty, and nothing is overwritten: give a folder that is new or empty.")
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.absolute().parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(folder, error) from None


def check_suffix(path: Path, suffixes: Iterable[str], what: str = "") -> None:
    """Raises: UsageError for the name of an `--output` that ends in none of these suffixes; `what` says for what they are."""
    *first, last = suffixes
    if path.suffix.lower() not in (*first, last):
        raise UsageError(f"--output must end in {' or '.join(filter(None, (', '.join(first), last)))}{what}.")


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the UserError for a path that could not be written."""
    return UserError(f"{path} can't be written ({error.strerror}): choose another place.")


def as_utf8(text: str) -> str:
    """Return a file name as valid UTF-8, for file formats that allow nothing else. Bytes that are not UTF-8 become `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def as_cell(value: object) -> object:
    """Return a value as a CSV cell. A text that a spreadsheet would read as a formula gets a leading apostrophe, as OWASP advises."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def write_json(what: object, path: Path) -> None:
    """Write a JSON file, completely or not at all. Raises: OSError where the file can't be written."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(what, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> dict:
    """Read a JSON file. Raises: UserError where the file can't be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path} can't be read: choose another output folder.") from None
