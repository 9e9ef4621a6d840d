"""Galleries being embedded: their vectors, their maps, and the patch tokens of the few photos that somebody looks into."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.embeddings.mapper import Mapper
from vitdemo.ui.embedding_maps import MapKey, Maps
from vitdemo.ui.run import Run
from vitdemo.ui.runs import Runs
from vitdemo.ui.served import scratch

if TYPE_CHECKING:
    import numpy as np

    from vitdemo.core.gallery import Item
    from vitdemo.core.models import Vit
    from vitdemo.core.photos import Photo
    from vitdemo.embeddings.gallery import Embedding, Row

TOKENS = 24  # photos whose patch tokens a gallery keeps, half a megabyte each


@dataclass(eq=False)
class EmbeddingRun(Run):
    """One gallery's vectors, and what was made of them.

    Attributes:
        ahead: whether somebody will look at its map as soon as there is one, and at its thumbnails.
        maps: there once the photos are through, or stopped, and there is at least one.
        photos: where the page finds them, once they are through.
        tokens: (layer, photo's id) → (rows, columns, width), the latest few.
        lock: for the tokens.
    """

    ahead: bool = True
    embedding: "Embedding | None" = None
    maps: Maps | None = None
    photos: dict | None = None
    tokens: "OrderedDict[tuple[int | str, str], np.ndarray]" = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return len(self.embedding.rows) if self.embedding else 0

    def mapped(self) -> Maps:
        """Raises: UserError where no photo is through."""
        if self.maps is None:
            raise UserError("There are no vectors in this gallery yet: wait for its photos, or give others.")
        return self.maps

    def row(self, number: object) -> "tuple[Row, Item]":
        """A photo by its number in the gallery. Raises: UserError where there is none."""
        rows = self.embedding.rows if self.embedding else []
        if type(number) is not int or not 0 <= number < len(rows) or rows[number].error:
            raise UserError("There is no such photo in this gallery.")
        return rows[number], self.items[number]

    def forget(self, *, keep_files: bool = False) -> None:
        if self.maps:
            self.maps.close()
        super().forget(keep_files=keep_files)


class EmbeddingRuns(Runs[EmbeddingRun]):
    """All galleries of all visitors."""

    row_bytes = 5_000  # and 80 KB on the disk, with ViT-B

    def __init__(self, store: ModelStore):
        super().__init__(store)
        self.store = store
        self.mapper = Mapper(store.settings)

    def start(self, items: list["Item"], model: str, visitor: str, caller: str = "", *, ahead: bool = True) -> EmbeddingRun:
        """Begin with a gallery, or queue it up. Raises: UserError where too many wait already."""
        self.mapper.warm()  # it is ready by the time the photos are
        return self._begin(EmbeddingRun(items, model, visitor, self.settings, ahead=ahead, caller=caller))

    def _process(self, run: EmbeddingRun, vit: "Vit") -> None:
        from vitdemo.embeddings.gallery import Embedding

        run.embedding = Embedding(run.items, vit, self._store.engine, self.settings, thumbnails=run.ahead, folder=run.folder)
        steps = run.embedding.work()
        try:
            with scratch(self.settings).promised(run.embedding.bytes):
                for _ in steps:
                    self._hold(run)
                    if run.stopping.is_set():
                        break
        finally:
            steps.close()
            if run.embedding.done:
                run.maps = Maps(run.embedding, self.mapper)
                if run.ahead and run.id in self._runs:
                    run.maps.ask(MapKey(run.embedding.layers[-1], run.embedding.pools[0]))

    def sweep(self) -> None:
        """As all galleries; and those whose page was closed go, for they take much of the disk."""
        super().sweep()
        for run in list(self._runs.values()):
            if run.closed:
                self.drop(run)

    def vit(self, run: EmbeddingRun) -> "Vit":
        """The gallery's model, which may have to be loaded again. Raises: UserError where that fails."""
        return self._store.get(run.model, run.id).result(timeout=60)

    def photo(self, run: EmbeddingRun, number: object) -> "Photo":
        """A photo at full size, opened again. Raises: UserError where it is not there any more."""
        from vitdemo.core.photos import decode

        row, item = run.row(number)
        return decode(item.read(self.settings), item.shown, self.settings, id=row.sha256)

    def patch_tokens(self, run: EmbeddingRun, numbers: list, layer: int | str) -> "np.ndarray":
        """(photos, rows, columns, width) float32 of one layer. Raises: UserError as `photo`, or for a layer that is not there."""
        import numpy as np
        import torch

        from vitdemo.embeddings.vectors import patch_tokens

        ids = {number: run.row(number)[0].sha256 for number in numbers}
        with run.lock:
            known = {number: run.tokens.get((layer, ids[number])) for number in ids}
        if missing := [number for number in ids if known[number] is None]:
            vit = self.vit(run)
            inputs = torch.stack([vit.preprocessing(self.photo(run, number).image) for number in missing])
            found = patch_tokens(vit, self._store.engine, inputs, layer).numpy()
            known |= dict(zip(missing, found, strict=True))
        with run.lock:
            for number in ids:
                run.tokens[layer, ids[number]] = known[number]
                run.tokens.move_to_end((layer, ids[number]))
            while len(run.tokens) > TOKENS:
                run.tokens.popitem(last=False)
        return np.stack([known[number] for number in numbers])
