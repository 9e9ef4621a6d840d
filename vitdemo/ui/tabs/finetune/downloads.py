"""Results of a fine-tuning: its report, and a zip of the model for download."""

import secrets
import zipfile
from pathlib import Path

from vitdemo.core.errors import UserError
from vitdemo.core.names import file_name
from vitdemo.core.outputs import read_json
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.tabs.finetune.runs import run_of
from vitdemo.ui.tabs.finetune.session import FinetuneSession
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions

NOTHING_YET = "There is no model yet: start, and wait for the first epoch."


def report_of(session: FinetuneSession) -> dict | None:
    """The content of report.json of a finished job; None where there is no report."""
    path = session.result / "report.json"
    return read_json(path) if path.is_file() else None


def pack(sessions: FinetuneSessions, session: FinetuneSession) -> Path:
    """Write a zip of the result: config, weights, what it was trained on, and report.

    Raises: UserError where there is no model yet, or no room on the disk.
    """
    if report_of(session) is None:
        raise UserError(NOTHING_YET)
    files = sorted(path for path in session.result.iterdir() if path.is_file())
    run, size = run_of(session), sum(file.stat().st_size for file in files)
    folder = session.shelf / run.folder.name
    path = folder / f"{file_name(run.title, sessions.store.title_of(run.model), 'finetuned')}.zip"
    partial = folder / f".{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_of(sessions.settings).promised(size), zipfile.ZipFile(partial, "w") as archive:
            for file in files:
                archive.write(file, f"{session.result.name}/{file.name}")
        partial.replace(path)  # nobody downloads half a zip
        for earlier in folder.glob("*.zip"):  # of another title
            if earlier != path:
                earlier.unlink(missing_ok=True)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"The download can't be made ({error.strerror}): try again in a few minutes.") from None
    return path
