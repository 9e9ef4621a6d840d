"""Galleries in the Embeddings tab: their vectors, their maps, and the patch tokens of recently opened photos."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.embeddings.maps.mapper import Mapper
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs
from vitdemo.ui.tabs.embeddings.maps import GalleryMaps, MapKey

if TYPE_CHECKING:
    import numpy as np

    from vitdemo.core.models.labels import ClassNames
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Gallery, Item
    from vitdemo.core.photos.photo import Photo
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery, EmbeddingRow
    from vitdemo.embeddings.vectors.parts import Parts

MAX_TOKEN_PHOTOS = 24  # cached per gallery, half a megabyte each
NO_VECTORS = "There are no vectors in this gallery yet: wait for its photos, or give others."


@dataclass(eq=False)
class PartsSearch:
    """The search for a layer's parts, running or over.

    Attributes:
        layer: 1 … the number of blocks, or `final`.
        numbers: of the photos whose patches are grouped, in the gallery.
        done: how many of them have been read.
        parts: the result; None until then.
        error: why there is none, for people.
        stopping: set to stop the search.
    """

    layer: int | str
    numbers: list[int]
    done: int = 0
    parts: "Parts | None" = None
    error: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def share(self) -> float:
        """How much is done, 0 … 1; grouping counts as a tenth."""
        return 1.0 if self.parts else 0.9 * min(1.0, self.done / max(1, len(self.numbers)))


@dataclass(eq=False)
class EmbeddingJob(GalleryJob):
    """One gallery, its vectors and its maps.

    Attributes:
        ahead: whether to make thumbnails, and to draw the first map as soon as the vectors are done.
        embedding: the gallery's vectors, once the work has begun.
        class_names: finds the class that a folder named by a WordNet id stands for, once the model is known.
        maps: the gallery's maps; None until the photos are done or stopped, and at least one has vectors.
        photos: the files with the photos' rows and thumbnails, once written.
        tokens: cache of patch tokens: (layer, photo's id) → (rows, columns, width), least recently used first.
        parts: layer → the search for its parts, least recently begun first.
        lock: protects `tokens` and `parts`.
    """

    ahead: bool = True
    embedding: "EmbeddingGallery | None" = None
    class_names: "ClassNames | None" = None
    maps: GalleryMaps | None = None
    photos: dict | None = None
    tokens: "OrderedDict[tuple[int | str, str], np.ndarray]" = field(default_factory=OrderedDict)
    parts: dict[int | str, PartsSearch] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done_rows(self) -> "Sequence[EmbeddingRow]":
        """The rows of the finished photos, with or without vectors."""
        return self.embedding.rows[:] if self.embedding else []

    def title(self, folder: str) -> str:
        """A folder's name as the page shows it."""
        return self.class_names.title(folder) if self.class_names else folder

    def embedded(self) -> "EmbeddingGallery":
        """The gallery's vectors. Raises: UserError where the work has not begun."""
        if self.embedding is None:
            raise UserError(NO_VECTORS)
        return self.embedding

    def mapped(self) -> GalleryMaps:
        """The gallery's maps. Raises: UserError where no photo has vectors yet."""
        if self.maps is None:
            raise UserError(NO_VECTORS)
        return self.maps

    def row(self, number: object) -> "tuple[EmbeddingRow, Item]":
        """A photo's row and file by its number in the gallery. Raises: UserError where there is no such photo, or the file has an error."""
        rows = self.embedding.rows if self.embedding else []
        if type(number) is not int or not 0 <= number < len(rows) or rows[number].error:
            raise UserError("There is no such photo in this gallery.")
        return rows[number], self.items[number]

    def stop_parts(self) -> None:
        """Stop the searches for parts that are running, and forget them."""
        with self.lock:
            for layer in [layer for layer, found in self.parts.items() if found.parts is None]:
                self.parts.pop(layer).stopping.set()

    def forget(self, *, keep_files: bool = False) -> None:
        """Drop the gallery: stop its maps, and delete its files unless `keep_files`."""
        if self.maps:
            self.maps.close()
        self.stop_parts()
        super().forget(keep_files=keep_files)


class EmbeddingJobs(GalleryJobs[EmbeddingJob]):
    """The Embeddings galleries of all visitors, and the mapper that draws their maps."""

    row_bytes = 5_000  # in memory; on the disk a photo takes another 80 KB with ViT-B

    def __init__(self, store: ModelStore):
        super().__init__(store)
        self.mapper = Mapper(store.settings)

    def start(self, items: "Gallery", model: str, visitor: str, client: str = "", *, ahead: bool = True) -> EmbeddingJob:
        """Start a gallery, or put it in the queue. Raises: UserError where the queue is full."""
        self.mapper.warm()  # the mapper starts while the photos are processed
        return self._begin(EmbeddingJob(items, model, visitor, self.settings, ahead=ahead, client=client))

    def _process(self, job: EmbeddingJob, vit: "Vit") -> None:
        from vitdemo.core.models.labels import ClassNames
        from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

        job.class_names = ClassNames(vit.labels)
        job.embedding = EmbeddingGallery(job.items, vit, self.store.engine, self.settings, thumbnails=job.ahead, folder=job.folder)
        steps = job.embedding.work()
        try:
            with scratch_of(self.settings).promised(job.embedding.bytes):
                for _ in steps:
                    self._hold(job)
                    if job.stopping.is_set():
                        break
        finally:
            steps.close()
            if job.embedding.done:
                job.maps = GalleryMaps(job.embedding, self.mapper)
                if job.ahead and job.id in self._jobs:
                    job.maps.ask(MapKey(job.embedding.layers[-1], job.embedding.pools[0]))

    def sweep(self) -> None:
        """Sweep as in all tabs, and also drop galleries whose page was closed, because they take much disk space."""
        super().sweep()
        for job in list(self._jobs.values()):
            if job.closed:
                self.drop(job)

    def vit(self, job: EmbeddingJob) -> "Vit":
        """The gallery's model, loaded again if necessary. Raises: UserError where loading fails, or another model has its name by now."""
        vit = self.store.get(job.model, job.id).result(timeout=60)
        if job.model_name not in ("", None, vit.id):
            raise UserError("Another model answers by this name now: run the gallery again.")
        return vit

    def photo(self, job: EmbeddingJob, number: object) -> "Photo":
        """A photo at full size, opened again. Raises: UserError where the photo's file can't be read any more."""
        from vitdemo.core.photos.photo import decode

        row, item = job.row(number)
        return decode(item.read(self.settings), item.shown, self.settings, id=row.sha256)

    def patch_tokens(self, job: EmbeddingJob, numbers: list, layer: int | str) -> "np.ndarray":
        """Patch tokens of photos, (photos, rows, columns, width) float32, from the cache or the model.

        Args:
            numbers: the photos' numbers in the gallery.
            layer: 1 … the number of blocks, or `final`.

        Raises: UserError as `photo`, or for a layer that the model does not have.
        """
        import numpy as np
        import torch

        from vitdemo.embeddings.vectors.extract import patch_tokens

        ids = {number: job.row(number)[0].sha256 or "" for number in numbers}  # a photo without an error has an id
        with job.lock:
            tokens_of = {number: job.tokens[layer, id] for number, id in ids.items() if (layer, id) in job.tokens}
        if missing := [number for number in ids if number not in tokens_of]:
            vit = self.vit(job)
            inputs = torch.stack([vit.preprocessing(self.photo(job, number).image) for number in missing])
            new_tokens = patch_tokens(vit, self.store.engine, inputs, layer).numpy()
            tokens_of |= dict(zip(missing, new_tokens, strict=True))
        with job.lock:
            for number in ids:
                job.tokens[layer, ids[number]] = tokens_of[number]
                job.tokens.move_to_end((layer, ids[number]))
            while len(job.tokens) > MAX_TOKEN_PHOTOS:
                job.tokens.popitem(last=False)
        return np.stack([tokens_of[number] for number in numbers])
