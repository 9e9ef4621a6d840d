"""Add as class: send selected photos of a gallery from the map to the Fine-tune tab."""

from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions, ReplacesSession


def function(jobs: EmbeddingJobs, finetune_sessions: FinetuneSessions) -> Callable[[dict], dict]:
    """The server function that the page's script may call, for `gallery_upload.build`."""

    def teach(payload: dict) -> dict:
        """Add photos as a class. Returns: the fine-tuning session's id and number of classes; or a warning about what would be replaced."""
        job, ids = jobs.get(payload.get("run")), payload.get("ids")
        if not isinstance(ids, list) or not ids:
            raise UserError("No photos are chosen: draw a lasso or a box around some.")
        items = [job.row(number)[1] for number in ids]
        try:
            session = finetune_sessions.add_class(payload.get("lesson"), payload.get("label"), items, anew=payload.get("anew") is True)
        except ReplacesSession as warning:
            return {"warning": str(warning)}
        return {"lesson": session.id, "classes": len(session.classes)}

    return teach
