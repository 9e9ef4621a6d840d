"""The bench of fine-tuning: what it makes of known seconds, and that both sides do the same work. How fast they are is for it to say."""

import copy

import pytest
import torch

from tests.bench.conftest import words
from tests.support.pictures import paint
from vitdemo.bench import finetune, rounds
from vitdemo.cli import main
from vitdemo.core import config
from vitdemo.core.photos.search import find_items


@pytest.fixture
def folder(tmp_path):
    """Nine photos of three classes."""
    return paint(tmp_path / "colours", 3, 0)


def test_what_is_made_of_known_seconds(clock_of, capsys):
    clock = clock_of(rounds)
    ours, theirs = iter([9.0, 9.0, 1.0, 2.0, 4.0]), iter([4.0] * 5)
    found = finetune._compare({"ours": lambda: clock.pass_(next(ours)), "theirs": lambda: clock.pass_(next(theirs))}, 3)
    assert found == {"ours": [1.0, 2.0, 4.0], "theirs": [4.0, 4.0, 4.0]}
    said = capsys.readouterr().out.splitlines()
    assert words(said[0]) == "ours 2.00 s (1.00 to 4.00)"
    assert said[2] == "  ours is 2.00 times as fast, round by round 1.00 to 4.00"


def test_the_photos_are_taken_from_all_classes(folder, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(finetune, "PHOTOS", 3)
    monkeypatch.setattr(finetune, "_compare", lambda sides, runs: asked.append((list(sides), runs)) or [side() for side in sides.values()])
    monkeypatch.setattr(finetune, "_ours", lambda items, place: ([item.folder for item in items], place))
    monkeypatch.setattr(finetune, "_plain", lambda pairs: pairs)
    monkeypatch.setattr(finetune, "_trainer_steps", lambda: lambda: "trainer")
    monkeypatch.setattr(finetune, "_timm_steps", lambda: lambda: "timm")
    found = finetune.run(runs=5, photos=folder)
    labels = ["blue", "green", "red"]
    assert found == {
        "head": [(labels, folder), [(str(folder / label / "0.png"), label) for label in labels]],
        "step": ["trainer", "timm"],
    }
    assert asked == [(["ours", "backbone in every epoch"], 3), (["ours", "timm's pieces"], 5)]
    assert "10 epochs by the plain loop, 3 photos" in capsys.readouterr().out


def test_the_plain_loop_trains_only_the_head(folder, network, monkeypatch):
    trained = copy.deepcopy(network)
    trained.reset_classifier(3)
    before = copy.deepcopy(trained.state_dict())
    classes = []
    monkeypatch.setattr(finetune, "_network", lambda count: classes.append(count) or trained)
    monkeypatch.setattr(finetune, "EPOCHS", 2)
    monkeypatch.setattr(finetune, "BATCH", 4)
    passes = []
    trained.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    pairs = [(str(item.path), item.folder) for item in find_items([folder])]
    finetune._plain(pairs)
    assert classes == [3]
    assert passes == [4, 4, 1] * 2  # the backbone runs in every epoch
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_our_side_trains_a_head_of_its_classes(folder, small_network, monkeypatch):
    from vitdemo.finetune.learning import train

    asked = []
    monkeypatch.setattr(train, "finetune", lambda *arguments: asked.append(arguments) or iter([1, 2]))
    finetune._ours(find_items([folder]), folder)
    ((vit, engine, samples, recipe, output, _, _),) = asked
    assert (vit.name, engine.device.type, recipe.unfreeze) == (finetune.TINY, "cpu", "head")
    assert sorted(sample.label for sample in samples) == ["blue"] * 3 + ["green"] * 3 + ["red"] * 3
    assert not output.exists()


def test_both_sides_take_the_same_steps(network, monkeypatch):
    made = []

    def make(classes: int) -> torch.nn.Module:
        made.append(copy.deepcopy(network).requires_grad_(True))
        torch.manual_seed(0)
        made[-1].reset_classifier(classes)
        return made[-1]

    monkeypatch.setattr(finetune, "_network", make)
    monkeypatch.setattr(finetune, "STEPS", 3)
    monkeypatch.setattr(finetune, "STEP_BATCH", 2)
    finetune._trainer_steps()()
    finetune._timm_steps()()
    ours, theirs = (module.state_dict() for module in made)
    begin = network.state_dict()["blocks.0.attn.qkv.weight"]
    for state in (ours, theirs):
        assert 0 < (state["blocks.0.attn.qkv.weight"] - begin).abs().max() < 1e-3
    assert (ours["head.weight"] - theirs["head.weight"]).abs().max() < 1e-4


def test_the_batch_is_always_the_same():
    images, targets = finetune._batch()
    assert (images.shape, targets.tolist()) == ((8, 3, 224, 224), [0, 1, 2, 0, 1, 2, 0, 1])
    assert torch.equal(images, finetune._batch()[0])


def test_without_photos(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", "finetune"]) == 1
    assert "set VITDEMO_SHARED, or give --photos DIR" in capsys.readouterr().err


def test_steps_of_a_precision_are_autocasts(network, monkeypatch, capsys):
    """The first blocks compute in bf16 in both sides, and all three sides learn."""
    seen = set()

    def make(classes: int):
        made = copy.deepcopy(network)
        made.reset_classifier(classes)
        made.blocks[0].mlp.fc1.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        return made.requires_grad_(True)

    def in_turns(sides, runs: int) -> dict:
        dtypes = []
        for side in sides.values():
            seen.clear()
            side()
            dtypes.append(set(seen))
        assert dtypes == [{torch.float32}, {torch.bfloat16}, {torch.bfloat16}]
        return {name: [2.0 / number] for number, name in enumerate(sides, 1)}

    size = network.pretrained_cfg["input_size"]
    monkeypatch.setattr(finetune, "_network", make)
    monkeypatch.setattr(finetune, "STEPS", 1)
    monkeypatch.setattr(finetune, "_batch", lambda: (torch.randn(2, *size), torch.tensor([0, 1])))
    monkeypatch.setattr(finetune, "in_turns", in_turns)
    assert list(finetune._steps_in("bf16", 3)) == ["ours, fp32", "ours, bf16", "timm's, bf16"]
    assert "ours, bf16 1.00 s 2.00 × ours in fp32 in speed" in words(capsys.readouterr().out)
