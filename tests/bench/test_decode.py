"""The bench of decoding: real photos on a small model, and drafts that are drafts."""

import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.bench import decode
from vitdemo.core import config


@pytest.fixture
def folder(tmp_path, small_network, monkeypatch):
    monkeypatch.setattr(decode, "BATCH", 2)
    for number in range(3):
        noise(60, 40, number).resize((2400, 1600)).save(tmp_path / f"{number}.jpg")
    return tmp_path


def test_each_step_is_timed_and_answers_differ_by_drafts(folder, capsys):
    found = decode.run(photos=folder)
    assert {name: [*steps] for name, steps in found["milliseconds"].items()} == {
        "full size": [*decode.STEPS],
        "--jpeg-draft": [*decode.STEPS],
    }
    assert all(took > 0 for steps in found["milliseconds"].values() for step, took in steps.items() if step != "read")
    assert found["milliseconds"]["--jpeg-draft"]["decode"] < found["milliseconds"]["full size"]["decode"]
    assert 0 < found["agreement"]["logits"] < 1
    assert 0.9 < found["agreement"]["lowest_cosine"] < 1
    assert "for each of 3 photos" in capsys.readouterr().out


def test_a_batch_is_prepared_before_anything_counts(folder, monkeypatch):
    prepare, asked = decode._prepared, []

    def count(vit, paths, draft: int) -> tuple:
        asked.append((len(paths), bool(draft)))
        return prepare(vit, paths, draft)

    monkeypatch.setattr(decode, "_prepared", count)
    decode.run(photos=folder)
    assert asked == [(decode.BATCH, False), (3, False), (3, True)]


def test_shared_photos_are_enlarged(tmp_path, monkeypatch):
    (tmp_path / "data" / "caltech20").mkdir(parents=True)
    noise(30, 20).save(tmp_path / "data" / "caltech20" / "a.png")
    monkeypatch.setattr(config, "SHARED", tmp_path)
    monkeypatch.setattr(decode, "SHORT_SIDE", 100)
    monkeypatch.setattr(decode, "_measure", lambda paths: {"sizes": [(Image.open(path).format, Image.open(path).size) for path in paths]})
    assert decode.run() == {"sizes": [("JPEG", (150, 100))]}
