"""From the map to the Fine-tune tab: chosen photos of a gallery become a class to learn."""

from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions, ReplacesSession


def function(jobs: EmbeddingJobs, finetune_sessions: FinetuneSessions) -> Callable[[dict], dict]:
    """For `giving.build`: what the script may call."""

    def teach(asked: dict) -> dict:
        """Send photos as a class. Answers the lesson that they are in, and its classes by now; or what would be lost, to be asked again."""
        job, ids = jobs.get(asked.get("run")), asked.get("ids")
        if not isinstance(ids, list) or not ids:
            raise UserError("No photos are chosen: draw a lasso or a box around some.")
        items = [job.row(number)[1] for number in ids]
        try:
            session = finetune_sessions.teach(asked.get("lesson"), asked.get("label"), items, anew=asked.get("anew") is True)
        except ReplacesSession as warning:
            return {"warning": str(warning)}
        return {"lesson": session.id, "classes": len(session.classes)}

    return teach
