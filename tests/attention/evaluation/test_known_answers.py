"""The comparison on the shared pets gives the known hits, areas and SaCo."""

import pytest

from vitdemo.attention.evaluation.compare import compare_photos
from vitdemo.attention.evaluation.subjects import subjects_of
from vitdemo.bench.faithfulness import methods
from vitdemo.core.photos.search import find_items

HITS = {
    "relevance": 70,
    "relevance, plain": 60,
    "gradient-rollout": 67,
    "gradient-rollout, plain": 59,
    "fullgrad": 68,
    "votes": 68,
    "votes, last 4 layers": 69,
    "centre": 65,
}
ERASED = {  # deletion, insertion and SaCo on 16 evenly spread pets
    "centre": (0.301, 0.450, -0.016),
    "relevance, plain": (0.153, 0.507, 0.612),
    "relevance": (0.122, 0.515, 0.639),
    "votes": (0.146, 0.529, 0.561),
    "votes, last 4 layers": (0.139, 0.524, 0.621),
    "fullgrad": (0.113, 0.583, 0.662),
}


@pytest.fixture(scope="module")
def found(shared, real_tiny, engine):
    from vitdemo.core.config import Settings

    folder = shared / "data" / "pets"
    subjects = subjects_of(find_items([folder / "images"]), real_tiny, Settings(), folder / "masks")
    *_, last = compare_photos(real_tiny, engine, subjects, methods=methods(12), erase=16, mosaics=0, orders=1)
    return last.comparison


def test_hits_of_74(found):
    hits = {method: sum(found.scores[method]["hit"]) for method in HITS}
    assert hits == pytest.approx(HITS, abs=1)


def test_ranking(found):
    rows = found.table().rows
    assert rows["relevance"]["hit"].value >= 0.93
    assert rows["relevance"]["auc"].value >= 0.84
    assert rows["votes"]["auc"].value >= 0.86
    assert rows["votes, last 4 layers"]["iou"].value == pytest.approx(0.73, abs=0.01)
    assert (rows["votes"]["auc"].centre, rows["relevance"]["auc"].centre, rows["fullgrad"]["auc"].centre) == (1, 1, 0)


def test_areas_and_saco_of_16(found):
    for method, (deletion, insertion, saco) in ERASED.items():
        values = {metric: cell.value for metric, cell in found.table().rows[method].items()}
        assert (values["deletion"], values["insertion"]) == pytest.approx((deletion, insertion), abs=0.005), method
        assert values["saco"] == pytest.approx(saco, abs=0.02), method
