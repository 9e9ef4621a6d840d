"""A gallery's maps and scores, computed one at a time: the requested map first, then all layers' scores, then the other layers' maps."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from vitdemo.embeddings.maps.atlas import Atlas, MapOptions
from vitdemo.embeddings.maps.clusters import name_clusters
from vitdemo.embeddings.maps.mapper import Mapper
from vitdemo.embeddings.maps.nearest import outliers, remoteness
from vitdemo.embeddings.maps.scores import LayerScore
from vitdemo.embeddings.progress import WorkProgress
from vitdemo.ui.errors import user_message

if TYPE_CHECKING:
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery, EmbeddingRow

MAX_AHEAD_PHOTOS = 2000  # gallery size up to which all layers' maps are drawn in advance
MAX_MAPS = 60  # per gallery; a map takes a few dozen bytes per photo


@dataclass(frozen=True)
class MapKey:
    """Identifies a map: the layer and pooling of its vectors, and the map's options."""

    layer: int | str
    pool: str
    options: MapOptions = field(default_factory=MapOptions)


@dataclass(frozen=True, eq=False)
class FinishedMap:
    """A finished map.

    Attributes:
        key: the map's layer, pooling and options.
        atlas: the map's points and clusters.
        names: the clusters' names, cluster 0 first.
        remote: (n,) each photo's outlier score: its distance to its nearest neighbours among the vectors.
        outlying: (n,) bool, which photos are outliers.
    """

    key: MapKey
    atlas: Atlas
    names: list[str]
    remote: np.ndarray

    @cached_property
    def outlying(self) -> np.ndarray:
        """Which photos are outliers, (n,) bool."""
        return outliers(self.remote)


class GalleryMaps:
    """The maps of one gallery whose photos have all been embedded.

    Attributes:
        embedding: the gallery's vectors.
        rows: the rows with vectors, in the order of the points of every map.
    """

    def __init__(self, embedding: "EmbeddingGallery", mapper: Mapper):
        self.embedding, self._mapper = embedding, mapper
        self.rows: list[EmbeddingRow] = embedding.done
        self._labels = [row.folder for row in self.rows]
        self._distinct = [place for place, row in enumerate(self.rows) if row.duplicate_of is None]
        self._drawn: OrderedDict[MapKey, FinishedMap] = OrderedDict()  # least recently used first
        self._scores: dict[tuple[str, int | str], LayerScore] = {}
        self._failed: dict[MapKey, str] = {}
        self._wanted: MapKey | None = None
        self._progress: WorkProgress | None = None
        self._stopping = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    def ask(self, key: MapKey) -> FinishedMap | WorkProgress | str:
        """Request a map, which is then drawn next. Returns: the finished map, its progress, or the sentence that says why it failed."""
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                if self._wanted != key:
                    self._wanted = key
                    self._stopping.clear()
                    self._start()  # the other layers of this map may be requested next
                return self._drawn[key]
            failed = self._failed.pop(key, None)
            if failed and self._wanted == key:
                return failed
            if self._wanted != key:
                self._wanted, self._progress = key, None
            self._stopping.clear()
            self._start()
            return self._progress or WorkProgress("waiting", 0, 1)

    def scores(self, pool: str) -> list[LayerScore | None]:
        """The score of every layer; None where the score is not known yet."""
        with self._lock:
            return [self._scores.get((pool, layer)) for layer in self.embedding.layers]

    def drawn(self, pool: str, options: MapOptions) -> list[FinishedMap]:
        """The finished maps with this pooling and these options, by layer."""
        with self._lock:
            keys = [MapKey(layer, pool, options) for layer in self.embedding.layers]
            return [self._drawn[key] for key in keys if key in self._drawn]

    @property
    def idle(self) -> bool:
        """Whether no map or score is being computed."""
        return self._thread is None

    def stop(self) -> None:
        """Cancel the map that is being drawn; finished maps stay."""
        with self._lock:
            if self._wanted and self._wanted not in self._drawn:
                self._failed[self._wanted] = "The map was stopped: choose a layer or the settings to draw one."
            self._stopping.set()

    def close(self) -> None:
        """Stop computing: the gallery is not needed any more."""
        self._closed = True

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._work, name="maps", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if (task := self._next()) is None:
                    self._thread = None
                    return
            task()

    def _next(self) -> Callable[[], None] | None:
        """The next task: the requested map, then missing scores, then the missing map of the nearest layer. None if all is done."""
        wanted = self._wanted
        if self._closed or wanted is None or self._stopping.is_set():
            return None
        if wanted not in self._drawn and wanted not in self._failed:
            return partial(self._draw, wanted)
        layers = self.embedding.layers
        for layer in layers:
            if (wanted.pool, layer) not in self._scores:
                return partial(self._score, wanted.pool, layer)
        if len(self.rows) > MAX_AHEAD_PHOTOS:
            return None
        keys = [replace(wanted, layer=layer) for layer in layers]
        missing = [key for key in keys if key not in self._drawn and key not in self._failed]
        return (
            partial(self._draw, min(missing, key=lambda key: abs(layers.index(key.layer) - layers.index(wanted.layer))))
            if missing
            else None
        )

    def _draw(self, key: MapKey) -> None:
        try:
            vectors = self.embedding.vectors(key.layer, key.pool)
            steps = self._mapper.map(vectors, key.options, self._begin_from(key))
            for step in steps:
                if isinstance(step, Atlas):
                    names = name_clusters(step.clusters, [_top_class(row) for row in self.rows])
                    drawn = FinishedMap(key, step, names, remoteness(vectors).astype(np.float32))
                    with self._lock:
                        self._drawn[key] = drawn
                        while len(self._drawn) > MAX_MAPS:
                            self._drawn.popitem(last=False)
                elif self._stopping.is_set():
                    steps.close()
                    return
                elif key == self._wanted:
                    self._progress = step
        except Exception as error:
            with self._lock:
                self._failed[key] = user_message(error)

    def _begin_from(self, key: MapKey) -> np.ndarray | None:
        """Initial positions: the map of the nearest layer with the same options, so that points move smoothly instead of jumping."""
        layers = self.embedding.layers
        with self._lock:
            candidates = [candidate for candidate in self._drawn if candidate.options == key.options]
            if not candidates:
                return None
            nearest = min(candidates, key=lambda other: (other.pool != key.pool, abs(layers.index(other.layer) - layers.index(key.layer))))
            return self._drawn[nearest].atlas.positions

    def _score(self, pool: str, layer: int | str) -> None:
        score = LayerScore(layer, None, None)
        try:
            vectors = self.embedding.vectors(layer, pool)[self._distinct]
            labels = [self._labels[place] for place in self._distinct]
            for step in self._mapper.scores([(layer, vectors)], labels):
                if isinstance(step, LayerScore):
                    score = step
        except Exception as error:
            user_message(error)  # logs the error; the layer stays without a score
        with self._lock:
            self._scores[pool, layer] = score


def _top_class(row: "EmbeddingRow") -> str:
    return row.predictions[0].label.short if row.predictions else ""
