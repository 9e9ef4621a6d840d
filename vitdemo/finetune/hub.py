"""`finetune --push-to-hub OWNER/NAME`: the finished bundle to the Hugging Face hub, with the token of the person at the command line."""

import re
from pathlib import Path

from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.outputs import read_json

FILES = ("README.md", "config.json", "model.safetensors", "familiarity.safetensors", "report.json")
_REPO = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)


def check(repo: str) -> None:
    """Check before a training that its result can go to this repository.

    Raises: UsageError for a name that can't be one; UserError where nobody is logged in.
    """
    if not _REPO.fullmatch(repo):
        raise UsageError(f"--push-to-hub is “{repo[:80]}”, but it must be OWNER/NAME, such as me/my-birds.")
    from huggingface_hub import get_token

    if not get_token():
        raise UserError("--push-to-hub needs your Hugging Face token: run hf auth login, or set HF_TOKEN.")


def push(folder: Path, repo: str) -> str:
    """Upload a bundle, in a new private repository if there is none of that name. Returns its address.

    The photos' names stay here: the uploaded report has the figures without them.

    Raises: UserError where the hub refuses or can't be reached.
    """
    import json

    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi

    from vitdemo.finetune.learning import card

    card.write(report := read_json(folder / "report.json"), folder, repo)
    figures = {key: value for key, value in report.items() if key not in ("photos", "worst", "why")}
    api = HfApi()
    try:
        address = api.create_repo(repo, private=True, exist_ok=True)
        operations = [CommitOperationAdd(name, str(folder / name)) for name in FILES[:-1] if (folder / name).is_file()]
        operations.append(CommitOperationAdd(FILES[-1], json.dumps(figures, ensure_ascii=False, indent=1).encode()))
        api.create_commit(repo, operations, commit_message="Upload a model fine-tuned with vitdemo")
    except (HTTPError, OSError, ValueError) as error:  # the hub's own errors are httpx's
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"The hub did not take the model ({why}): it is in {folder}; try the same command again.") from None
    return str(address)
