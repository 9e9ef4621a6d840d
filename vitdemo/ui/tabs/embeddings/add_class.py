"""From the map to the Fine-tune tab: chosen photos of a gallery become a class to learn."""

from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui.embedding_runs import EmbeddingRuns
from vitdemo.ui.finetune_runs import Lessons, Replaces


def function(runs: EmbeddingRuns, lessons: Lessons) -> Callable[[dict], dict]:
    """For `giving.build`: what the script may call."""

    def teach(asked: dict) -> dict:
        """Send photos as a class. Answers the lesson that they are in, and its classes by now; or what would be lost, to be asked again."""
        run, ids = runs.get(asked.get("run")), asked.get("ids")
        if not isinstance(ids, list) or not ids:
            raise UserError("No photos are chosen: draw a lasso or a box around some.")
        items = [run.row(number)[1] for number in ids]
        try:
            lesson = lessons.teach(asked.get("lesson"), asked.get("label"), items, anew=asked.get("anew") is True)
        except Replaces as warning:
            return {"warning": str(warning)}
        return {"lesson": lesson.id, "classes": len(lesson.classes)}

    return teach
