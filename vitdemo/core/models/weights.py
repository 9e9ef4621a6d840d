"""A model's files in huggingface_hub's cache, or from the hub."""

import hashlib
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineExceeded
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import tqdm

from vitdemo.core.errors import UsageError, UserError

MAX_ATTEMPTS = 3  # failed attempts in a row, without a new byte, after which a download is given up
constants.DOWNLOAD_CHUNK_SIZE = 1 << 20  # bytes lost by a break, and between progress reports; huggingface_hub's default is 10 times that


REMEDY = "choose a model that is on this machine already, or try again once the hub is within reach."


class HubUnreachable(UserError):
    """The model hub can't be reached."""


class NotInRepository(UserError):
    """The repository has no such file."""


@dataclass(frozen=True)
class LoadProgress:
    """Progress of a load: `stage` is contact, download or load; `done` and `total` are bytes, 0 where they are unknown."""

    stage: str
    done: int = 0
    total: int = 0


OnProgress = Callable[[LoadProgress], None]


def cached(repo: str, filename: str) -> Path | None:
    """Return the file's path in huggingface_hub's cache; None where no complete copy is cached."""
    path = try_to_load_from_cache(repo, filename)
    return Path(path) if isinstance(path, str) else None


def fetch(repo: str, filename: str, *, timeout: float, on_progress: OnProgress) -> Path:
    """Download a file into huggingface_hub's cache. The download resumes where an earlier attempt broke off.

    Args:
        timeout: seconds within which the hub must answer the first contact.

    Raises: HubUnreachable where the hub can't be reached; NotInRepository; UserError for every other failure.
    """
    on_progress(LoadProgress("contact"))
    _first_contact(repo, filename, timeout)
    arrived = fruitless = 0

    def count(progress: LoadProgress) -> None:
        nonlocal arrived
        arrived = progress.done
        on_progress(progress)

    while True:
        before = arrived
        try:
            path = Path(hf_hub_download(repo, filename, etag_timeout=timeout, tqdm_class=_reporting(count)))
            break
        except (httpx.HTTPError, HfHubHTTPError, OSError) as error:
            fruitless = 0 if arrived > before else fruitless + 1
            if fruitless == MAX_ATTEMPTS or getattr(error, "errno", None):  # retrying doesn't help on a full disk or without permission
                raise UserError(
                    f"The download of {repo} broke off ({_one_line(error)}): try again, it goes on from where it stopped."
                ) from None
            time.sleep(1)
    _check_hash(path, repo)
    return path


def forget(path: Path) -> None:
    """Remove a broken file from huggingface_hub's cache, so that the next attempt downloads the file again."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _first_contact(repo: str, filename: str, timeout: float) -> None:
    """Request the file's metadata from the hub, for at most `timeout` seconds, including name resolution and a silent server.

    Raises: as `fetch`.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="first-contact")
    try:
        executor.submit(get_hf_file_metadata, hf_hub_url(repo, filename), timeout=timeout).result(timeout)
    except GatedRepoError:
        raise UserError(f"{repo} is given out by its owner on request: ask at https://huggingface.co/{repo}, then set HF_TOKEN.") from None
    except RepositoryNotFoundError:
        raise UsageError(f"The hub has no model {repo}: check the name, or set HF_TOKEN if it is private.") from None
    except EntryNotFoundError:
        raise NotInRepository(f"The hub has no {filename} for {repo}: choose a model with SafeTensors weights.") from None
    except HFValidationError:
        raise UsageError(f"{repo} is not a name the hub can have: check it.") from None
    except OfflineModeIsEnabled:
        raise HubUnreachable(f"The model hub is switched off (HF_HUB_OFFLINE): {REMEDY}") from None
    except DeadlineExceeded:
        raise HubUnreachable(f"The model hub did not answer within {timeout:g} s: {REMEDY}") from None
    except (httpx.HTTPError, HfHubHTTPError, FileMetadataError, OSError):
        raise HubUnreachable(f"The model hub can't be reached: {REMEDY}") from None
    finally:
        executor.shutdown(wait=False)


def _reporting(on_progress: OnProgress) -> type[tqdm]:
    """Return huggingface_hub's progress bar for the terminal, extended to report each step to `on_progress`."""

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.bytes = kwargs.get("initial") or 0

        def update(self, n: float | None = 1) -> bool | None:
            self.bytes += n or 0
            on_progress(LoadProgress("download", int(self.bytes), int(self.total or 0)))
            return super().update(n)

    return Bar


def _check_hash(path: Path, repo: str) -> None:
    """Check the sha256 of a downloaded file. The hub's cache names a large file by its sha256. Raises: UserError where it differs."""
    expected = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", expected):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                forget(path)
                raise UserError(f"What arrived for {repo} is not the file the hub promised: try again, or check the way to the hub.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
