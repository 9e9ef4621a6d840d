"""Photos and results on other machines, by URLs that fsspec reads, such as `s3://`, `gs://`, `http://` or `file://`.

URLs come only from the command line, never from a visitor.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.photo import read_from, shown_name

MAX_TRIES, RETRY_SECONDS = 3, 0.5  # attempts to read a file, and the wait before the second attempt; the next wait is twice as long
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[a-zA-Z0-9+.-]+::")


@dataclass(frozen=True)
class RemotePhoto:
    """One photo at a URL.

    Attributes:
        url: the URL that opens the photo.
        name: the photo's name in results: its URL, or for a photo in a zip the zip's URL and the path inside.
        inside: whether the photo was found in a folder, a pattern or a zip, not given by itself.
    """

    url: str
    name: str
    inside: bool


def is_url(given: str | Path) -> bool:
    """Whether this is a URL for fsspec, not a path on this machine."""
    return isinstance(given, str) and _URL.match(given) is not None


def photos_at(url: str, is_photo: Callable[[str], bool]) -> Iterator[RemotePhoto]:
    """Yield the photo at a URL, or the photos in the folder, pattern or zip that the URL names, sorted.

    Args:
        is_photo: tells from a file's name, within the folder or zip, whether to include the file.

    Raises: UserError where the URL can't be opened, or nothing is there.
    """
    if "::" not in url and url.lower().endswith(".zip"):
        for photo in photos_at(f"zip://**::{url}", is_photo):
            yield RemotePhoto(photo.url, f"{url}/{photo.url.removeprefix('zip://').removesuffix(f'::{url}')}", True)
        return
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
        if alone or is_photo(file.removeprefix(root) if root else PurePosixPath(file).name):
            file_url = f"{fs.unstrip_protocol(file)}{chain}"
            yield RemotePhoto(file_url, file_url, not alone)


def read(url: str, shown: str, settings: Settings) -> bytes:
    """Return a file's bytes. Raises: UserError where the file can't be read, is empty or is too large."""
    for attempt in range(MAX_TRIES):
        try:
            fs, path = filesystem(url)
            with fs.open(path, "rb") as file:
                return read_from(file, shown, settings)
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
