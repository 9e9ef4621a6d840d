"""Large maps without FAISS and UMAP, whose places are known; and with both, in the slow tests."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support import exact_faiss


class FakeFit:
    """In place of a UMAP fit: a row's place is its first numbers.

    Attributes:
        placed: numbers of rows that were placed afterwards, one for each batch.
    """

    def __init__(self, rows: np.ndarray, dimensions: int):
        self.embedding_, self.placed = rows[:, :dimensions].copy(), []

    def transform(self, rows: np.ndarray) -> np.ndarray:
        self.placed.append(len(rows))
        return rows[:, : self.embedding_.shape[1]]


@pytest.fixture
def known_places(monkeypatch) -> list[SimpleNamespace]:
    """The fits asked for, with their rows, neighbours and options."""
    from vitdemo.embeddings.maps import large, mapper
    from vitdemo.embeddings.progress import WorkProgress

    fits = []

    def fitted(rows, indices, distances, options, *, on_progress):
        on_progress(WorkProgress("map", 0, 1))
        fit = FakeFit(rows, options.dimensions)
        fits.append(SimpleNamespace(fit=fit, rows=rows, indices=indices, distances=distances, options=options))
        return fit

    monkeypatch.setitem(sys.modules, "faiss", exact_faiss)
    monkeypatch.setattr(large, "fitted", fitted)
    monkeypatch.setattr(mapper, "keep_compiled", lambda folder: None)
    return fits


@pytest.fixture
def real_maps(cache_dir) -> None:
    """FAISS and UMAP, whose compiled code is kept for all tests."""
    pytest.importorskip("faiss")
    from vitdemo.embeddings.maps.mapper import keep_compiled

    keep_compiled(cache_dir / "compiled")


@pytest.fixture(params=["known places", pytest.param("FAISS and UMAP", marks=pytest.mark.slow)])
def large_maps(request) -> str:
    """Every test that uses it runs once without FAISS and UMAP, and once, as a slow one, with them."""
    request.getfixturevalue("known_places" if request.param == "known places" else "real_maps")
    return request.param
