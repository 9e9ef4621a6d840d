"""The estimate before a run: the arithmetic of passes, and that it measures photos that can be read."""

import pytest

from tests.support.pictures import paint
from vitdemo.core.config import Settings
from vitdemo.core.photos.search import find_items
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.learning.estimate import estimate, seconds
from vitdemo.finetune.recipe import Recipe


@pytest.mark.parametrize(
    ("recipe", "passes"),
    [
        (Recipe(), 1),
        (Recipe(views=3), 4),
        (Recipe(unfreeze="3", epochs=10), 1 + 10 * (0.8 * 1.5 + 0.2)),
        (Recipe(unfreeze="all", epochs=1, validation=0.5), 1 + 0.5 * 3 + 0.5),
        (Recipe(unfreeze="gradual", epochs=2), 1 + 2 * (0.8 * 2 + 0.2)),
    ],
)
def test_it_counts_passes(recipe, passes):
    assert seconds(0.1, 40, 12, recipe) == pytest.approx(0.1 * 40 * passes)


def test_a_pass_is_measured(vit, engine, tmp_path):
    paint(tmp_path / "photos", 3, 0)
    samples = [Sample(item, "red") for item in find_items([tmp_path / "photos"])]
    one, ten = (estimate(vit, engine, samples, Recipe(views=views), Settings()) for views in (0, 19))
    assert 0 < one < ten
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    assert estimate(vit, engine, [Sample(find_items([broken])[0], "red")], Recipe(), Settings()) == 0
