"""Each case through Classify, Embeddings and Fine-tune, as a command is given it and as a visitor sends it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases.inputs import CASES, Case, uploads
from vitdemo.classify.gallery import classify_gallery
from vitdemo.core.config import Settings
from vitdemo.core.names import one_spelling
from vitdemo.core.photos.gallery import Gallery
from vitdemo.core.photos.search import find_items, uploaded_items
from vitdemo.embeddings.vectors.gallery import EmbeddingGallery
from vitdemo.finetune.data.folders import place


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.about)
def case(request) -> Case:
    return request.param


@pytest.fixture(scope="module")
def given(case, tmp_path_factory) -> Path:
    return case.make(tmp_path_factory.mktemp("case"))


def galleries(case: Case, given: Path) -> Iterator[tuple[Gallery, Path | None]]:
    """The photos as the command line finds them, then as an upload."""
    yield find_items([given]), given
    if not case.on_disk:
        yield uploaded_items(uploads(given), Settings()), None


def test_classes_splits_and_notes(case, given):
    for items, root in galleries(case, given):
        placed = place(items, root)
        assert Counter(one_spelling(sample.label) for sample in placed.samples) == case.classes
        if case.splits:
            assert Counter(sample.split for sample in placed.samples) == case.splits
        said = [*items.notes, *placed.notes]
        assert [part for part in case.notes if not any(part in note for note in said)] == [], said
        assert case.notes or not said, said


def test_rows_of_classify(case, given, vit, engine):
    for items, _ in galleries(case, given):
        rows = list(classify_gallery(items, vit, engine, Settings()))
        _check(case, [(row.error, row.folder) for row in rows])


def test_rows_of_embeddings(case, given, vit, engine, tmp_path):
    for items, _ in galleries(case, given):
        gallery = EmbeddingGallery(items, vit, engine, Settings(cache_dir=tmp_path))
        for _ in gallery.work():
            pass
        _check(case, [(row.error, row.folder) for row in gallery.rows])


def _check(case: Case, rows: list[tuple[str | None, str]]) -> None:
    """Every photo has a row without an error, and the folders that are classes are called as they are."""
    assert [error for error, _ in rows if error] == []
    assert len(rows) == sum(case.classes.values()) + case.loose
    assert {label for label in case.classes if label != "store"} <= {one_spelling(folder) for _, folder in rows}
