"""A Hugging Face repository as a folder in the hub's cache: its config, its preprocessing, and its SafeTensors weights."""

import logging
import re
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import weights
from vitdemo.core.models.catalogue import OPEN_SOURCE
from vitdemo.core.models.checkpoint.kinds import read_json
from vitdemo.core.models.checkpoint.read import INDEX, shards_of
from vitdemo.core.models.huggingface.config import HuggingFaceConfig
from vitdemo.core.models.huggingface.processor import FILES
from vitdemo.core.models.weights import NotInRepository, OnProgress

CACHED, DOWNLOADED = "the hub cache on this machine", "the hub, downloaded now"
OWN_LICENCE = "%s comes under a licence of its own (%s): read it at https://huggingface.co/%s."
NO_LICENCE = "%s states no licence: read https://huggingface.co/%s before you use it."
LICENCE = re.compile(r"^(license|license_name):[ \t]*[\"']?([\w .+-]+?)[\"']?[ \t]*$", re.MULTILINE)
log = logging.getLogger(__name__)


def folder_of(repo: str, settings: Settings, on_progress: OnProgress, *, weights_too: bool = True) -> tuple[Path, str]:
    """Return the folder of a repository's files, downloaded if they are not cached, and where they came from.

    The licence is told on the terminal before weights are downloaded, if it is not a usual open-source one.

    Args:
        weights_too: whether the weights are wanted, or the config and the preprocessing alone.

    Raises: UserError that says what to do; HubUnreachable where the hub is needed and can't be reached.
    """

    def fetch(name: str) -> Path:
        return weights.cached(repo, name) or weights.fetch(repo, name, timeout=settings.hub_timeout, on_progress=on_progress)

    config = weights.cached(repo, "config.json")
    if config and (not weights_too or _all_cached(repo)):
        return config.parent, CACHED
    try:
        config = fetch("config.json")
    except NotInRepository:
        raise UserError(f"{repo} has no config.json, so it says not what model it is: choose another repository.") from None
    if not _is_timms(config):
        HuggingFaceConfig.read(config.parent)  # refuses another kind of model before its weights are downloaded
    licence = ""
    for name in (*FILES, "README.md"):
        try:
            path = fetch(name)
        except NotInRepository:
            continue
        if name == "README.md":
            licence = licence_of(path.read_text("utf-8", "replace"))
    if weights_too:
        if not licence:
            log.warning(NO_LICENCE, repo, repo)
        elif licence not in OPEN_SOURCE:
            log.warning(OWN_LICENCE, repo, licence, repo)
        try:
            fetch("model.safetensors")
        except NotInRepository:
            try:
                for name in shards_of(fetch(INDEX)):
                    fetch(name)
            except NotInRepository:
                raise UserError(
                    f"{repo} has no SafeTensors weights, and a pickle can run code when it is opened: choose another repository, or "
                    "download it, run “python -m vitdemo convert” on the file if you trust it, and give local-dir:DIR."
                ) from None
    return config.parent, DOWNLOADED


def licence_of(card: str) -> str:
    """The licence that a model card's front matter names: an SPDX id, or a name of its own; empty where it names none."""
    front = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    stated: dict[str, str] = dict(LICENCE.findall(front[1])) if front else {}
    licence = stated.get("license", "")
    return stated.get("license_name", licence) if licence in ("", "other") else licence


def _all_cached(repo: str) -> bool:
    if weights.cached(repo, "model.safetensors"):
        return True
    index = weights.cached(repo, INDEX)
    return bool(index and all(weights.cached(repo, name) for name in shards_of(index)))


def _is_timms(config: Path) -> bool:
    try:
        return "architecture" in read_json(config)
    except (OSError, ValueError):
        return False
