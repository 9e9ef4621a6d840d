"""Galleries being classified."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.ui.run import Run
from vitdemo.ui.runs import Runs

if TYPE_CHECKING:
    from vitdemo.classify.gallery import Row
    from vitdemo.classify.scores import Scores
    from vitdemo.core.gallery import Item
    from vitdemo.core.models import Vit


@dataclass(eq=False)
class GalleryRun(Run):
    """One gallery on its way through the model. `rows` only grows, and holds what is done, whatever became of the rest.

    Attributes:
        top: classes kept of each photo.
        thumbnails: whether its rows get them.
        named: what its model's classes may be called by a folder.
    """

    top: int
    thumbnails: bool = True
    rows: list["Row"] = field(default_factory=list)
    named: dict[str, frozenset[int]] = field(default_factory=dict)
    scores: "Scores | None" = None

    @property
    def done(self) -> int:
        return len(self.rows)

    def right(self, row: "Row") -> bool | None:
        """Whether the first class is the one that the photo's folder names; None where it names none."""
        from vitdemo.core.labels import plain

        meant = self.named.get(plain(row.folder))
        return row.predictions[0].label.index in meant if meant else None


class GalleryRuns(Runs[GalleryRun]):
    """All galleries of all visitors."""

    row_bytes = 3_000

    def start(
        self, items: list["Item"], model: str, visitor: str, caller: str = "", *, top: int = 5, thumbnails: bool = True
    ) -> GalleryRun:
        """Begin with a gallery, or queue it up. Raises: UserError where too many wait already."""
        return self._begin(GalleryRun(items, model, visitor, self.settings, top, thumbnails, caller=caller))

    def _process(self, run: GalleryRun, vit: "Vit") -> None:
        from vitdemo.classify.gallery import classify_gallery
        from vitdemo.classify.scores import score
        from vitdemo.core.labels import classes_named

        run.named = classes_named(vit.labels)
        rows = classify_gallery(run.items, vit, self._store.engine, self.settings, top=run.top, thumbnails=run.thumbnails)
        for row in rows:
            run.rows.append(row)
            self._hold(run)
            if run.stopping.is_set():
                rows.close()
                break
        run.scores = score(run.rows, vit.labels)
