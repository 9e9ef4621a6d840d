"""What a fine-tuning leaves to download: its report, and a zip of the model."""

import zipfile
from pathlib import Path

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.tabs.finetune.session import FinetuneSession
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions

NOTHING_YET = "There is no model yet: start, and wait for the first epoch."


def report_of(session: FinetuneSession) -> dict | None:
    """What report.json says of the job that has ended; None where there is none."""
    path = session.result / "report.json"
    return read_json(path) if path.is_file() else None


def pack(sessions: FinetuneSessions, session: FinetuneSession) -> Path:
    """A zip with config, weights and report. Raises: UserError where there is nothing to pack."""
    if report_of(session) is None:
        raise UserError(NOTHING_YET)
    files = [session.result / name for name in ("config.json", "model.safetensors", "report.json")]
    path, coming = session.shelf / f"{session.result.name}.zip", sum(each.stat().st_size for each in files)
    try:
        path.parent.mkdir(exist_ok=True)
        with scratch_of(sessions.settings).promised(coming), zipfile.ZipFile(path, "w") as archive:
            for each in files:
                archive.write(each, f"{session.result.name}/{each.name}")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"The download can't be made ({error.strerror}): try again in a few minutes.") from None
    return path
