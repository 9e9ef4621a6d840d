"""The counts of a comparison against counts made by hand."""

import numpy as np
import pytest

from tests.support.pictures import noise
from vitdemo.core.errors import UserError
from vitdemo.core.photos.search import find_items
from vitdemo.export import parity
from vitdemo.export.parity import Agreement, ParitySample, agreement, compare, read_sample, time_in_turn


def sample(answers, targets) -> ParitySample:
    return ParitySample(np.zeros((len(answers), 2, 2, 3), np.uint8), None, np.float32(answers), targets, [], "by hand")


def test_counts_made_by_hand():
    before = sample([[3, 2, 1], [1, 3, 2], [1, 2, 3], [5, 1, 0]], [{0}, {1}, {1}, set()])
    found = agreement(before, np.float32([[3, 2, 1.5], [1, 2, 3], [1, 2, 3], [5, 0, 1]]), labelled=True)
    assert found.agreement == 0.75
    assert found.top5 == 0.5  # the fourth has another order behind its first class
    assert (found.accuracy, found.accuracy_before, found.labelled) == (pytest.approx(1 / 3), pytest.approx(2 / 3), 3)
    assert found.largest == 1
    assert found.mean == pytest.approx((0.5 + 1 + 1 + 1 + 1) / 12)
    assert not found.agrees


def test_features_agree_by_their_angle():
    before = sample([[1, 0], [0, 2]], [set(), set()])
    found = agreement(before, np.float32([[2, 0], [0.5, 2]]), labelled=False)
    assert (found.agreement, found.top5, found.accuracy) == (0.5, None, None)


@pytest.mark.parametrize(
    ("agreement", "accuracy", "agrees"), [(0.95, None, True), (0.949, None, False), (1, 0.685, True), (1, 0.684, False), (0.9, 0.7, False)]
)
def test_what_agrees(agreement, accuracy, agrees):
    assert Agreement(200, 1.0, 0.1, agreement, 0.5, accuracy, None if accuracy is None else 0.7, 200).agrees == agrees


def test_a_sample_and_its_comparison(vit, engine, settings, tmp_path):
    for start, folder in ((0, "cat"), (4, "boat")):  # one picture lies in both
        (tmp_path / folder).mkdir()
        for number in range(start, start + 5):
            noise(80, 60, number).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "cat" / "broken.png").write_bytes(b"no photo")
    *counts, found = read_sample(find_items([tmp_path]), "noise", vit, engine, settings)
    assert counts == [8, 9]
    assert found.crops.shape[1:] == (*vit.preprocessing.size, 3)
    assert set().union(*found.targets) == {1, 2}  # boat and cat
    assert found.notes == (
        "1 of the photos can't be read and is left out: “broken.png”.",
        "1 of the photos is a copy of another, and left out.",
    )
    *_, same = compare(found, lambda batch: {"logits": engine.logits(vit, _tensor(batch))[0].numpy()}, "logits", baked=False, labelled=True)
    assert same.agreement == same.top5 == 1
    assert same.largest < 1e-5
    assert same.labelled == same.photos == len(found.crops)


def _tensor(batch):
    import torch

    return torch.from_numpy(batch)


def test_labels_of_a_few_folders_say_nothing(vit, engine, settings, tmp_path):
    for number, folder in enumerate(("cat", "somewhere", "elsewhere")):
        (tmp_path / folder).mkdir()
        noise(80, 60, number).save(tmp_path / folder / "a.png")
    *_, found = read_sample(find_items([tmp_path]), "noise", vit, engine, settings)
    assert not any(found.targets)


def test_nothing_to_compare_on(vit, engine, settings, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no photo")
    with pytest.raises(UserError, match="None of the photos to compare on can be read"):
        list(read_sample(find_items([tmp_path]), "noise", vit, engine, settings))


def test_sides_take_turns(monkeypatch):
    calls = []
    seconds = time_in_turn({name: lambda batch, name=name: calls.append((batch, name)) for name in ("a", "b")})
    rounds = parity.ROUNDS + 1
    assert calls == [(1, "a"), (1, "b")] * rounds + [(8, "a"), (8, "b")] * rounds
    assert all(0 < each < 1 for side in seconds.values() for each in side.values())
    assert seconds["a"].keys() == {1, 8}
    calls.clear()
    monkeypatch.setattr(parity, "PATIENCE", 0)
    time_in_turn({"a": lambda batch: calls.append(batch)})
    assert calls == [1, 1, 8, 8]  # one round that counts, however slow
