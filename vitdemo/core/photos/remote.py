"""Photos and results on other machines, by URL: whatever fsspec reads, such as `s3://`, `gs://`, `http://` or `file://`.

Only the command line gives URLs; what a visitor names never comes here.
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

MAX_TRIES, RETRY_SECONDS = 3, 0.5  # times that a file is asked for, and seconds before the second time, twice as many before the third
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[a-zA-Z0-9+.-]+::")


@dataclass(frozen=True)
class RemotePhoto:
    """One photo.

    Attributes:
        url: opens it.
        name: what results call it: its URL, with the path inside for one in a zip.
        inside: it was found in a folder, a pattern or a zip, not given by itself.
    """

    url: str
    name: str
    inside: bool


def is_url(given: str | Path) -> bool:
    """Whether fsspec is meant, not a path on this machine."""
    return isinstance(given, str) and _URL.match(given) is not None


def photos_at(url: str, is_photo: Callable[[str], bool]) -> Iterator[RemotePhoto]:
    """The photo at a URL, or those in the folder, pattern or zip that it names, sorted.

    Args:
        is_photo: by a file's name within what is searched.

    Raises: UserError where the URL can't be opened, or nothing is there.
    """
    if "::" not in url and url.lower().endswith(".zip"):
        for each in photos_at(f"zip://**::{url}", is_photo):
            yield RemotePhoto(each.url, f"{url}/{each.url.removeprefix('zip://').removesuffix(f'::{url}')}", True)
        return
    with _as_user_error(url):
        fs, path = filesystem(url)
        pattern = any(each in path for each in "*?[")
        alone = not pattern and fs.isfile(path)
        paths = [path] if alone else sorted(fs.glob(path) if pattern else fs.find(path))
    if not paths and not pattern:
        raise UserError(f"There is nothing at {url}: check it, and what this machine may read there.")
    chain = url[url.index("::") :] if "::" in url else ""
    root = "" if pattern else path.rstrip("/") + "/"
    for each in paths:
        if alone or is_photo(each.removeprefix(root) if root else PurePosixPath(each).name):
            whole = f"{fs.unstrip_protocol(each)}{chain}"
            yield RemotePhoto(whole, whole, not alone)


def read(url: str, shown: str, settings: Settings) -> bytes:
    """A file's bytes. Raises: UserError where they can't be had, or are none or too many."""
    for number in range(MAX_TRIES):
        try:
            fs, path = filesystem(url)
            with fs.open(path, "rb") as file:
                return read_from(file, shown, settings)
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"“{shown}” is not there any more: check {url}.") from None
        except Exception as error:  # each of fsspec's many filesystems has errors of its own
            if number == MAX_TRIES - 1:
                raise UserError(f"“{shown}” can't be read from there ({_reason(error)}): check {url}, and try again.") from None
            time.sleep(RETRY_SECONDS * 2**number)
    raise AssertionError


def filesystem(url: str) -> tuple:
    """fsspec's filesystem of a URL, and the path in it. Raises: UserError for a kind of URL that can't be opened here."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except ImportError as error:
        raise UserError(f"{url} needs a package that is not here ({error}): install it, and try again.") from None
    except ValueError as error:
        raise UserError(f"{url} can't be opened ({error}): give s3://, gs://, http:// or another URL that fsspec reads.") from None


@contextmanager
def _as_user_error(url: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # as in `read`
        raise UserError(f"{url} can't be read ({_reason(error)}): check it, and what this machine may read there.") from None


def _reason(error: Exception) -> str:
    return shown_name(str(error) or type(error).__name__, 120)
