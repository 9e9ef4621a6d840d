"""Photos and results on other machines, by URLs that fsspec reads, such as `s3://`, `gs://`, `http://` or `file://`.

URLs come only from the command line, never from a visitor.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_name
from vitdemo.core.photos.photo import read_from

MAX_TRIES, RETRY_SECONDS = 3, 0.5  # attempts to read a file, and the wait before the second attempt; the next wait is twice as long
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[a-zA-Z0-9+.-]+::")


@dataclass(frozen=True)
class RemoteFile:
    """One file at a URL.

    Attributes:
        url: the URL that opens the file, which is its name in results as well.
        inside: its name within the folder or pattern that was given; empty for a file given by itself.
    """

    url: str
    inside: str


def is_url(given: str | Path) -> bool:
    """Whether this is a URL for fsspec, not a path on this machine."""
    return isinstance(given, str) and _URL.match(given) is not None


def files_at(url: str) -> Iterator[RemoteFile]:
    """Yield the file at a URL, or the files in the folder or pattern that the URL names, sorted.

    Raises: UserError where the URL can't be opened, or nothing is there.
    """
    with _as_user_error(url):
        fs, path = filesystem(url)
        pattern = any(wildcard in path for wildcard in "*?[")
        alone = not pattern and fs.isfile(path)
        paths = [path] if alone else sorted(fs.glob(path) if pattern else fs.find(path))
    if not paths and not pattern:
        raise UserError(f"There is nothing at {url}: check it, and what this machine may read there.")
    chain = url[url.index("::") :] if "::" in url else ""
    root = "" if pattern else path.rstrip("/") + "/"
    for file in paths:
        inside = "" if alone else file.removeprefix(root) if root else PurePosixPath(file).name
        yield RemoteFile(f"{fs.unstrip_protocol(file)}{chain}", inside)


def opened(url: str) -> IO[bytes]:
    """Return the open file at a URL. Raises: UserError where it can't be opened."""
    with _as_user_error(url):
        fs, path = filesystem(url)
        return fs.open(path, "rb")


def read(url: str, shown: str, settings: Settings) -> bytes:
    """Return a file's bytes. Raises: UserError where the file can't be read, is empty or is too large."""

    def reading() -> bytes:
        fs, path = filesystem(url)
        with fs.open(path, "rb") as file:
            return read_from(file, shown, settings)

    return retried(reading, url, shown)


def retried(reading: Callable[[], bytes], url: str, shown: str) -> bytes:
    """Return what a reading from a URL returns, which is tried again where it fails. Raises: UserError where it fails every time."""
    for attempt in range(MAX_TRIES):
        try:
            return reading()
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"“{shown}” is not there any more: check {url}.") from None
        except Exception as error:  # every fsspec filesystem has its own error classes
            if attempt == MAX_TRIES - 1:
                raise UserError(f"“{shown}” can't be read from there ({_reason(error)}): check {url}, and try again.") from None
            time.sleep(RETRY_SECONDS * 2**attempt)
    raise AssertionError


def filesystem(url: str) -> tuple:
    """Return the fsspec filesystem of a URL, and the path in it. Raises: UserError for a kind of URL that can't be opened here."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except ImportError as error:
        raise UserError(f"{url} needs a package that is not here ({error}): install it, and try again.") from None
    except ValueError as error:
        raise UserError(f"{url} can't be opened ({error}): give s3://, gs://, http:// or another URL that fsspec reads.") from None


@contextmanager
def _as_user_error(url: str) -> Iterator[None]:
    """Raise a UserError for every error inside the context."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # as in `read`
        raise UserError(f"{url} can't be read ({_reason(error)}): check it, and what this machine may read there.") from None


def _reason(error: Exception) -> str:
    return shown_name(str(error) or type(error).__name__, 120)
