"""The bench of accuracies, with a small model in place of ViT-Tiny and known reports in place of trainings."""

from dataclasses import replace

import pytest

from tests.support.pictures import paint
from vitdemo.bench import labels
from vitdemo.cli import main
from vitdemo.core import config
from vitdemo.finetune.recipe import PRESETS, Recipe


@pytest.fixture
def work(tmp_path, small_models):
    """The bench on 3 × 7 photos to learn from, 3 × 2 to be asked."""
    small_models(tmp_path / "shared", labels.TINY)
    paint(tmp_path / "photos" / "train", 7, 0)
    paint(tmp_path / "photos" / "test", 2, 1)
    (tmp_path / "work").mkdir()
    return labels.Work(tmp_path / "work", tmp_path / "photos")


@pytest.fixture
def trainings(work, monkeypatch):
    """All trainings asked for, as (recipe, paths, folder, random); each has a known report."""
    asked = []

    def learn(recipe: Recipe, samples: list, folder, *, random: bool = False) -> dict:
        asked.append((recipe, [sample.item.path for sample in samples], folder, random))
        accuracy = 0.5 + 0.1 * len(asked)
        return {
            "accuracy": accuracy,
            "baselines": {"head only": {"accuracy": accuracy - 0.05}},
            "weights_of": "best",
            "seconds": 3.0,
            "classes": ["blue", "green", "red"],
        }

    monkeypatch.setattr(work, "_learn", learn)
    return asked


def test_the_photos_to_be_asked_are_not_learnt_from(work):
    assert (len(work.train), len(work.test), len(work.items)) == (21, 6, 27)
    assert {sample.item.path.parent.parent.name for sample in work.train} == {"train"}
    assert {sample.item.path.parent.parent.name for sample in work.test} == {"test"}
    assert work.settings.checkpoint == work.weights


def test_the_head_is_timed_in_turn_with_one_pass(work, trainings, clock_of, monkeypatch, capsys):
    from vitdemo.classify import gallery

    clock, passes, passed = clock_of(labels), iter([2.0, 4.0]), []

    def classify(items, *_):
        passed.append(len(items))
        yield clock.pass_(next(passes))

    learn = work._learn
    monkeypatch.setattr(work, "_learn", lambda *arguments: clock.pass_(6.0) or learn(*arguments))
    monkeypatch.setattr(gallery, "classify_gallery", classify)
    found = work.head(2)
    assert found == {"accuracy": pytest.approx(0.7), "ratio": 2.25, "one pass": [2.0, 4.0], "head": [6.0, 6.0]}
    assert passed == [27, 27]
    assert [(recipe, len(paths), folder) for recipe, paths, folder, _ in trainings] == [
        (Recipe(), 27, work.place / "head-0"),
        (Recipe(), 27, work.place / "head-1"),
    ]
    assert "0.700  in 6.0 s; one pass over them 3.0 s: 2.25 times" in capsys.readouterr().out


def test_the_last_blocks_are_trained_once_a_seed(work, trainings, capsys):
    (work.place / "head-0" / "run").mkdir(parents=True)
    (work.place / "head-0" / "run" / "features.safetensors").write_bytes(b"known")
    kept = []
    learn = work._learn
    work._learn = lambda recipe, samples, folder: (
        kept.append((folder / "run" / "features.safetensors").read_bytes()) or learn(recipe, samples, folder)
    )
    found = work.blocks(range(2))
    assert found == [
        {"accuracy": pytest.approx(0.6), "head": pytest.approx(0.55), "kept": "best", "seconds": 3.0},
        {"accuracy": pytest.approx(0.7), "head": pytest.approx(0.65), "kept": "best", "seconds": 3.0},
    ]
    assert [recipe for recipe, *_ in trainings] == [replace(PRESETS["careful"].recipe, seed=seed) for seed in (0, 1)]
    assert kept == [b"known"] * 2
    assert not any(folder.exists() for _, _, folder, _ in trainings)
    assert "last four, mean     0.650  (head only 0.600)" in capsys.readouterr().out


def test_few_photos_of_each_class_are_drawn_anew(work, trainings, capsys):
    assert work.few(2) == pytest.approx([0.6, 0.7])
    tests = {sample.item.path for sample in work.test}
    drawn = [[path for path in paths if path not in tests] for _, paths, _, _ in trainings]
    for paths in drawn:
        names = [path.parent.name for path in paths]
        assert names == ["blue"] * 5 + ["green"] * 5 + ["red"] * 5
        assert len(set(paths)) == 15
    assert set(drawn[0]) != set(drawn[1])
    assert [recipe.seed for recipe, *_ in trainings] == [0, 1]
    assert all(len(paths) == 15 + 6 for _, paths, _, _ in trainings)
    assert "5 photos a class    0.650  mean of 2 draws: 0.600, 0.700" in capsys.readouterr().out


def test_random_weights_learn_all_layers(work, trainings):
    assert work.scratch() == {"accuracy": pytest.approx(0.6), "photos_per_class": 7}
    ((recipe, paths, _, random),) = trainings
    assert (recipe.unfreeze, recipe.epochs, recipe.layer_decay, recipe.patience) == ("all", 10, 1.0, 0)
    assert (len(paths), random) == (27, True)


def test_the_last_event_of_a_training_is_its_report(work, monkeypatch):
    from vitdemo.finetune.learning import train

    asked = []
    monkeypatch.setattr(train, "finetune", lambda *arguments: asked.append(arguments) or iter(["begun", "epoch", {"accuracy": 1}]))
    assert work._learn(Recipe(), work.test, work.place) == {"accuracy": 1}
    assert asked[0][2:5] == (work.test, Recipe(), work.place)


@pytest.mark.parametrize(("few", "share"), [([0.8, 0.9], "less than 0.20"), ([0.1, 0.3], "more than 0.20")])
def test_all_parts_make_one_result(work, few, share, monkeypatch, capsys, tmp_path):
    parts = {"head": {"ratio": 2}, "blocks": [1, 2], "few": few, "scratch": {"accuracy": 0.5, "photos_per_class": 25}}
    for name, value in parts.items():
        monkeypatch.setattr(labels.Work, name, lambda self, *_, value=value: value)
    assert labels.run(runs=1, photos=tmp_path / "photos") == parts
    said = capsys.readouterr().out
    assert "photos: 21 photos to learn from, 6 to be asked" in said
    assert f"with {share} of the labels\n" in said


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", "labels"]) == 1
    assert f"{tmp_path / 'data' / 'caltech20'} is not there: set VITDEMO_SHARED" in capsys.readouterr().err
    (tmp_path / "data" / "caltech20").mkdir(parents=True)
    assert main(["bench", "labels"]) == 1
    assert f"{labels.TINY}.safetensors is not there" in capsys.readouterr().err
