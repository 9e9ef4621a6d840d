"""Where results are written: seen to before the work, not after it."""

import errno
import json
import os
from pathlib import Path

from vitdemo.core.errors import UserError

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # what may begin one in a spreadsheet


def check_writable(path: Path) -> None:
    """Make the folders on the way to a file and see that it can be written.

    Raises: UserError for a place that can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    """What to say of a place where writing has failed."""
    return UserError(f"{path} can't be written ({error.strerror}): choose another place.")


def as_utf8(text: str) -> str:
    """A name that is no UTF-8 on disk, made so, for files that hold nothing else."""
    return os.fsencode(text).decode("utf-8", "replace")


def as_cell(value: object) -> object:
    """A cell of a CSV file. A text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def write_json(what: object, path: Path) -> None:
    """Write JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(what, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> dict:
    """Raises: UserError where the file can't be used."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path} can't be read: choose another output folder.") from None
