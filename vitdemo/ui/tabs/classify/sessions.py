"""Classification jobs of galleries."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs

if TYPE_CHECKING:
    from vitdemo.classify.gallery import PredictionRow
    from vitdemo.classify.scores import GalleryScores
    from vitdemo.core.models.labels import ClassNames
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Gallery


@dataclass(eq=False)
class ClassifyJob(GalleryJob):
    """One gallery on its way through the model.

    Attributes:
        top: classes kept per photo.
        thumbnails: whether rows get a thumbnail.
        rows: the finished photos. The list only grows, and stays when the job stops or fails; conflicts are known at the end.
        class_names: finds the classes that a folder names, once the model is known.
        scores: accuracy and confusion matrix, once the job has ended; None without folders that name classes.
    """

    top: int
    thumbnails: bool = True
    rows: list["PredictionRow"] = field(default_factory=list)
    class_names: "ClassNames | None" = None
    scores: "GalleryScores | None" = None

    @property
    def done_rows(self) -> "Sequence[PredictionRow]":
        """The rows of the finished photos."""
        return self.rows[:]

    def title(self, folder: str) -> str:
        """A folder's name as the page shows it."""
        return self.class_names.title(folder) if self.class_names else folder


class ClassifyJobs(GalleryJobs[ClassifyJob]):
    """All visitors' classification jobs."""

    row_bytes = 3_000

    def start(self, items: "Gallery", model: str, visitor: str, client: str = "", *, top: int = 5, thumbnails: bool = True) -> ClassifyJob:
        """Start a gallery's job or queue it. Raises: UserError where the queue is full, or the memory for results."""
        return self._begin(ClassifyJob(items, model, visitor, self.settings, top, thumbnails, client=client))

    def _process(self, job: ClassifyJob, vit: "Vit") -> None:
        from vitdemo.classify.gallery import classify_gallery, with_conflicts
        from vitdemo.classify.scores import score
        from vitdemo.core.models.labels import ClassNames

        job.class_names = ClassNames(vit.labels)
        rows = classify_gallery(job.items, vit, self.store.engine, self.settings, top=job.top, thumbnails=job.thumbnails)
        for row in rows:
            job.rows.append(row)
            self._hold(job)
            if job.stopping.is_set():
                cast(Generator, rows).close()  # it is a generator; closing it stops the work
                break
        job.rows[:] = with_conflicts(job.rows)
        job.scores = score(job.rows)
