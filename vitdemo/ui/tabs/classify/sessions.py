"""Galleries being classified."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs

if TYPE_CHECKING:
    from vitdemo.classify.gallery import PredictionRow
    from vitdemo.classify.scores import GalleryScores
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Item


@dataclass(eq=False)
class ClassifyJob(GalleryJob):
    """One gallery on its way through the model. `rows` only grows, and holds what is done, whatever became of the rest.

    Attributes:
        top: classes kept of each photo.
        thumbnails: whether its rows get them.
        named: what its model's classes may be called by a folder.
    """

    top: int
    thumbnails: bool = True
    rows: list["PredictionRow"] = field(default_factory=list)
    named: dict[str, frozenset[int]] = field(default_factory=dict)
    scores: "GalleryScores | None" = None

    @property
    def done(self) -> int:
        return len(self.rows)

    def right(self, row: "PredictionRow") -> bool | None:
        """Whether the first class is the one that the photo's folder names; None where it names none."""
        from vitdemo.core.models.labels import normalise_name

        meant = self.named.get(normalise_name(row.folder))
        return row.predictions[0].label.index in meant if meant else None


class ClassifyJobs(GalleryJobs[ClassifyJob]):
    """All galleries of all visitors."""

    row_bytes = 3_000

    def start(
        self, items: list["Item"], model: str, visitor: str, client: str = "", *, top: int = 5, thumbnails: bool = True
    ) -> ClassifyJob:
        """Begin with a gallery, or queue it up. Raises: UserError where too many wait already."""
        return self._begin(ClassifyJob(items, model, visitor, self.settings, top, thumbnails, client=client))

    def _process(self, job: ClassifyJob, vit: "Vit") -> None:
        from vitdemo.classify.gallery import classify_gallery
        from vitdemo.classify.scores import score
        from vitdemo.core.models.labels import classes_named

        job.named = classes_named(vit.labels)
        rows = classify_gallery(job.items, vit, self._store.engine, self.settings, top=job.top, thumbnails=job.thumbnails)
        for row in rows:
            job.rows.append(row)
            self._hold(job)
            if job.stopping.is_set():
                rows.close()
                break
        job.scores = score(job.rows, vit.labels)
