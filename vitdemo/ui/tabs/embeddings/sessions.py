"""Galleries being embedded: their vectors, their maps, and the patch tokens of the few photos that somebody looks into."""

import threading
from collections import OrderedDict
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

    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Item
    from vitdemo.core.photos.photo import Photo
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery, EmbeddingRow

MAX_TOKEN_PHOTOS = 24  # photos whose patch tokens a gallery keeps, half a megabyte each


@dataclass(eq=False)
class EmbeddingJob(GalleryJob):
    """One gallery's vectors, and what was made of them.

    Attributes:
        ahead: whether somebody will look at its map as soon as there is one, and at its thumbnails.
        maps: there once the photos are through, or stopped, and there is at least one.
        photos: where the page finds them, once they are through.
        tokens: (layer, photo's id) → (rows, columns, width), the latest few.
        lock: for the tokens.
    """

    ahead: bool = True
    embedding: "EmbeddingGallery | None" = None
    maps: GalleryMaps | None = None
    photos: dict | None = None
    tokens: "OrderedDict[tuple[int | str, str], np.ndarray]" = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return len(self.embedding.rows) if self.embedding else 0

    def mapped(self) -> GalleryMaps:
        """Raises: UserError where no photo is through."""
        if self.maps is None:
            raise UserError("There are no vectors in this gallery yet: wait for its photos, or give others.")
        return self.maps

    def row(self, number: object) -> "tuple[EmbeddingRow, Item]":
        """A photo by its number in the gallery. Raises: UserError where there is none."""
        rows = self.embedding.rows if self.embedding else []
        if type(number) is not int or not 0 <= number < len(rows) or rows[number].error:
            raise UserError("There is no such photo in this gallery.")
        return rows[number], self.items[number]

    def forget(self, *, keep_files: bool = False) -> None:
        if self.maps:
            self.maps.close()
        super().forget(keep_files=keep_files)


class EmbeddingJobs(GalleryJobs[EmbeddingJob]):
    """All galleries of all visitors."""

    row_bytes = 5_000  # and 80 KB on the disk, with ViT-B

    def __init__(self, store: ModelStore):
        super().__init__(store)
        self.store = store
        self.mapper = Mapper(store.settings)

    def start(self, items: list["Item"], model: str, visitor: str, client: str = "", *, ahead: bool = True) -> EmbeddingJob:
        """Begin with a gallery, or queue it up. Raises: UserError where too many wait already."""
        self.mapper.warm()  # it is ready by the time the photos are
        return self._begin(EmbeddingJob(items, model, visitor, self.settings, ahead=ahead, client=client))

    def _process(self, job: EmbeddingJob, vit: "Vit") -> None:
        from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

        job.embedding = EmbeddingGallery(job.items, vit, self._store.engine, self.settings, thumbnails=job.ahead, folder=job.folder)
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
        """As all galleries; and those whose page was closed go, for they take much of the disk."""
        super().sweep()
        for job in list(self._jobs.values()):
            if job.closed:
                self.drop(job)

    def vit(self, job: EmbeddingJob) -> "Vit":
        """The gallery's model, which may have to be loaded again. Raises: UserError where that fails."""
        return self._store.get(job.model, job.id).result(timeout=60)

    def photo(self, job: EmbeddingJob, number: object) -> "Photo":
        """A photo at full size, opened again. Raises: UserError where it is not there any more."""
        from vitdemo.core.photos.photo import decode

        row, item = job.row(number)
        return decode(item.read(self.settings), item.shown, self.settings, id=row.sha256)

    def patch_tokens(self, job: EmbeddingJob, numbers: list, layer: int | str) -> "np.ndarray":
        """(photos, rows, columns, width) float32 of one layer. Raises: UserError as `photo`, or for a layer that is not there."""
        import numpy as np
        import torch

        from vitdemo.embeddings.vectors.extract import patch_tokens

        ids = {number: job.row(number)[0].sha256 for number in numbers}
        with job.lock:
            known = {number: job.tokens.get((layer, ids[number])) for number in ids}
        if missing := [number for number in ids if known[number] is None]:
            vit = self.vit(job)
            inputs = torch.stack([vit.preprocessing(self.photo(job, number).image) for number in missing])
            found = patch_tokens(vit, self._store.engine, inputs, layer).numpy()
            known |= dict(zip(missing, found, strict=True))
        with job.lock:
            for number in ids:
                job.tokens[layer, ids[number]] = known[number]
                job.tokens.move_to_end((layer, ids[number]))
            while len(job.tokens) > MAX_TOKEN_PHOTOS:
                job.tokens.popitem(last=False)
        return np.stack([known[number] for number in numbers])
