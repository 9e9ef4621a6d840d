"""A run from photos to bundle: it learns, goes on after any end, says what goes wrong, and every switch reaches the step."""

import errno
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.layers import DropPath

from tests.support.pictures import noise, paint
from vitdemo.classify.files import write_rows
from vitdemo.classify.gallery import classify_gallery
from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.models import loader, ood
from vitdemo.core.photos.search import find_items
from vitdemo.finetune.data.dataset import Sample, settle
from vitdemo.finetune.data.features import FeatureCache
from vitdemo.finetune.data.folders import place
from vitdemo.finetune.heads.head import LabelledFeatures as Known
from vitdemo.finetune.heads.head import MinibatchHead, answer, balanced
from vitdemo.finetune.learning import blocks as blocks_module
from vitdemo.finetune.learning import blocks_stage, bundle, train
from vitdemo.finetune.learning.blocks import Blocks
from vitdemo.finetune.learning.outcome import REFUSES_NOTHING
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.learning.train import finetune
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import PairedTest, interval

QUICK = Recipe()
BLOCKS = Recipe(unfreeze="2", epochs=3, batch_size=4, accumulate=2, ema=0.9, patience=0, augment="standard")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    paint(folder / "train", 8, 0)
    paint(folder / "test", 4, 1)
    return folder


@pytest.fixture
def fresh(bundle):
    """The small ViT for one test alone."""
    return lambda: loader.load(f"local-dir:{bundle}", Settings(), torch.device("cpu"), lambda _: None)


@pytest.fixture
def start(fresh, engine, folder):
    def start(recipe: Recipe, output: Path, photos: Path | None = None) -> Iterator[dict]:
        samples, notes, _ = place(find_items([photos or folder]), photos or folder)
        return finetune(fresh(), engine, samples, recipe, output, Settings(), notes)

    return start


def of_kind(events, kind: str) -> list[dict]:
    return [each for each in events if each["kind"] == kind]


def test_the_head_learns_and_the_bundle_is_timm_s(start, tmp_path, folder, vit):
    events = list(start(QUICK, tmp_path / "out"))
    (data,), (report,) = of_kind(events, "data"), of_kind(events, "report")
    assert data["classes"] == ("blue", "green", "red")
    assert data["counts"]["red"] == {"train": 8, "validation": 0, "test": 4}
    assert [(each["stage"], each["epoch"], each["of"]) for each in of_kind(events, "epoch")] == [("head", 1, 1)]
    assert of_kind(events, "photos")[-1]["done"] == 36
    assert (report["asked"], report["of"], report["finished"]) == ("test", 12, True)
    assert report["accuracy"] >= 0.9
    assert report["baselines"]["head only"]["accuracy"] == report["accuracy"]
    assert report["baselines"]["majority class"]["right"] == 4
    assert sum(map(sum, report["confusion"])) == 12
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert list(theirs.pretrained_cfg["label_names"]) == ["blue", "green", "red"]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    for row in report["photos"]:
        with torch.inference_mode():
            probabilities = theirs(transform(Image.open(row["photo"]).convert("RGB"))[None]).softmax(-1)[0]
        assert row["taken"] == data["classes"][probabilities.argmax()]
        assert row["probability"] == pytest.approx(probabilities.max().item(), abs=1e-4)
    ours = loader.load(f"local-dir:{tmp_path / 'out'}", Settings(), torch.device("cpu"), lambda _: None)
    assert ours.ood is not None
    assert [each.name for each in ours.labels] == ["blue", "green", "red"]
    assert ours.preprocessing == vit.preprocessing
    assert json.loads((tmp_path / "out" / "report.json").read_text())["accuracy"] == report["accuracy"]


def test_without_a_split_every_photo_is_asked_out_of_fold(start, tmp_path, folder):
    (report,) = of_kind(list(start(QUICK, tmp_path, folder / "train")), "report")
    assert (report["asked"], report["of"], report["learned_from"], report["head"]["folds"]) == ("cross-validation", 24, 24, 5)
    assert report["interval"] == interval(0.8 * report["right"], 0.8 * 24)
    red = report["per_class"][2]
    assert red["recall_interval"] == interval(0.8 * 8 * red["recall"], 0.8 * 8)
    assert [row["share"] for row in report["learning_curve"]] == [0.25, 0.5, 0.75, 1.0]
    assert report["learning_curve"][-1]["accuracy"] == report["accuracy"]
    assert report["verdict"].startswith(f"{100 * report['accuracy']:.1f} % accuracy (95 % confidence interval: ")
    assert len(report["why"]) == len(report["worst"])


def test_a_validation_folder_is_respected(start, tmp_path):
    """The head learns from the others alone, and the report is about it."""
    paint(tmp_path / "photos" / "train", 5, 0)
    paint(tmp_path / "photos" / "val", 3, 1)
    (report,) = of_kind(list(start(QUICK, tmp_path / "out", tmp_path / "photos")), "report")
    assert (report["asked"], report["of"], report["learned_from"]) == ("validation", 9, 15)
    assert report["counts"]["red"] == {"train": 5, "validation": 3, "test": 0}


def test_too_many_photos_learn_in_minibatches(start, tmp_path, monkeypatch):
    monkeypatch.setattr(train.logistic, "MOST", 100)
    events = list(start(QUICK, tmp_path))
    assert any("too many to solve the head exactly: it learns in 20 passes" in each["text"] for each in of_kind(events, "note"))
    (report,) = of_kind(events, "report")
    assert (report["head"], report["learned_from"]) == ({"fitted": "minibatches", "passes": 20}, 18)
    assert report["accuracy"] >= 0.9


def test_blocks_that_are_better_are_kept_with_what_is_familiar_to_them(start, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks_stage, "compare", lambda *_: PairedTest(9, 1, 0.02))
    monkeypatch.setattr(State, "better", lambda self, scores, stage, epoch: True)
    (report,) = of_kind(list(start(BLOCKS, tmp_path)), "report")
    assert report["weights_of"] == {"stage": "blocks", "epoch": 3}
    assert report["why_these_weights"].endswith("and only the head on 1 (McNemar's test, p = 0.02): the blocks are better.")
    tuned = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    assert tuned.ood is not None
    with torch.inference_mode():
        features = tuned.logits_and_features(torch.zeros(1, 3, 224, 224))[1]
    assert math.isfinite(tuned.ood.distance(features).item())


def test_a_model_that_is_to_refuse_names_no_class_for_the_unfamiliar(start, tmp_path, folder, engine):
    list(start(replace(QUICK, refuse=True), tmp_path))
    vit = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    noise(300, 200, 5).save(tmp_path / "noise.png")
    rows = list(classify_gallery(find_items([folder / "test", tmp_path / "noise.png"]), vit, engine, Settings()))
    assert [row.predictions for row in rows if row.unfamiliar] == [[] for row in rows if row.unfamiliar]
    assert (rows[-1].path.endswith("noise.png"), rows[-1].unfamiliar, rows[-1].correct) == (True, True, None)
    assert sum(bool(row.predictions) for row in rows) >= 10
    write_rows(rows, tmp_path / "rows.csv", vit.name)
    last = (tmp_path / "rows.csv").read_text().splitlines()[-1]
    assert last.endswith(",True")
    assert ",,,,,," in last  # no class, no error


def test_two_photos_of_a_class_are_learned_from_and_refusing_is_said_to_need_more(start, tmp_path):
    paint(tmp_path / "photos", 2, 0)
    (report,) = of_kind(list(start(replace(QUICK, refuse=True), tmp_path / "out", tmp_path / "photos")), "report")
    assert (report["of"], report["finished"], REFUSES_NOTHING in report["notes"]) == (6, True, True)
    assert not (tmp_path / "out" / ood.FILE_NAME).exists()
    (report,) = of_kind(list(start(QUICK, tmp_path / "other", tmp_path / "photos")), "report")
    assert REFUSES_NOTHING not in report["notes"]


@pytest.mark.parametrize(("features", "layers", "pool"), [("mean", 3, "avg"), ("2", 2, "token")])
def test_the_head_reads_other_features_in_a_model_that_timm_builds(features, layers, pool, start, tmp_path, vit):
    (report,) = of_kind(list(start(replace(QUICK, features=features), tmp_path)), "report")
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert (report["features"], len(theirs.blocks), theirs.global_pool) == (features, layers, pool)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    image = transform(Image.open(report["photos"][0]["photo"]).convert("RGB"))[None]
    with torch.inference_mode():
        logits = theirs(image)
        tokens = vit.module.norm(vit.adapter.intermediates(image)[1][layers - 1])
        read = tokens[:, 1:].mean(1) if features == "mean" else tokens[:, 0]
        assert torch.allclose(theirs.head(read), logits, atol=1e-4)
    assert report["photos"][0]["probability"] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-4)
    ours = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    assert torch.allclose(ours.logits(image), logits, atol=1e-5)
    assert ours.ood is not None


@pytest.mark.parametrize("unfreeze", ["head", "1"])
def test_the_head_reads_cls_and_the_mean_side_by_side(unfreeze, start, tmp_path, vit, monkeypatch):
    monkeypatch.setattr(blocks_stage, "compare", lambda *_: PairedTest(9, 1, 0.02))  # so that blocks are kept
    recipe = replace(BLOCKS if unfreeze != "head" else QUICK, unfreeze=unfreeze, features="both")
    (report,) = of_kind(list(start(recipe, tmp_path)), "report")
    ours = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    assert not ours.plain
    assert ours.ood is not None
    with Image.open(report["photos"][0]["photo"]) as photo, torch.inference_mode():
        image = ours.preprocessing(photo.convert("RGB"))[None]
        tokens = ours.adapter.intermediates(image)[0]
        read = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        assert torch.allclose(ours.module.head(read), ours.logits(image), atol=1e-5)
    assert report["photos"][0]["probability"] == pytest.approx(ours.logits(image).softmax(-1).max().item(), abs=1e-4)
    assert "timm.create_model" not in (tmp_path / "README.md").read_text()


def test_auto_compares_what_the_head_can_read(start, tmp_path):
    """In one pass over the photos."""
    events = list(start(replace(QUICK, features="auto"), tmp_path))
    assert sum(each["done"] == each["total"] for each in of_kind(events, "photos")) <= 2  # the second finds all there
    (said,) = (each["text"] for each in of_kind(events, "note") if each["text"].startswith("The head reads"))
    (report,) = of_kind(events, "report")
    assert said.startswith(f"The head reads {report['features']}; cross-validated loss: final ")
    assert ", mean " in said
    assert ", 2 " in said


def test_more_blocks_than_there_are_to_read_from(start, tmp_path):
    with pytest.raises(UsageError, match="This model has 3 blocks, so --features can't be 4"):
        list(start(replace(QUICK, features="4"), tmp_path))


def test_features_are_computed_once(start, tmp_path, monkeypatch):
    list(start(QUICK, tmp_path))
    monkeypatch.setattr("vitdemo.finetune.data.features.run_over", lambda network, samples, *_: iter(()) if not samples else 1 / 0)
    events = list(start(replace(QUICK, balance=False), tmp_path))
    assert of_kind(events, "note")[0]["text"].endswith("it begins anew.")
    assert of_kind(events, "report")


def test_blocks_learn_from_the_head_on(start, tmp_path, vit):
    events = list(start(BLOCKS, tmp_path))
    assert [(each["stage"], each["epoch"]) for each in of_kind(events, "epoch")] == [
        ("head", 1),
        ("blocks", 1),
        ("blocks", 2),
        ("blocks", 3),
    ]
    assert of_kind(events, "step")[-1]["done"] == 18
    last = train.checkpoint.load(tmp_path / "run" / "last.safetensors")
    before, after = vit.module.state_dict(), last["model"]
    moved = {
        name.split(".")[1] if name.startswith("blocks") else name
        for name in before
        if name in after and not name.startswith("head") and not torch.equal(before[name], after[name])
    }
    assert moved == {"1", "2", "norm.weight", "norm.bias"}
    assert len(of_kind(events, "epoch")[-1]["guesses"]) == 6
    (report,) = of_kind(events, "report")
    assert "which goes to the head" in report["why_these_weights"] or "so the head is kept" in report["why_these_weights"]
    assert report["weights_of"]["stage"] == "head"


@pytest.mark.parametrize(
    ("won", "lost", "p", "said"),
    [
        (
            0,
            0,
            1.0,
            "On the validation photos, only the blocks are right on 0, and only the head on 0 (McNemar's test, p = 1): a tie, which",
        ),
        (9, 0, 0.0039, "only the blocks are right on 9, and only the head on 0 (McNemar's test, p = 0.0039): the blocks are better."),
    ],
)
def test_why_these_weights(won, lost, p, said):
    assert said in blocks_stage._why(PairedTest(won, lost, p))


@pytest.mark.parametrize("recipe", [BLOCKS, replace(BLOCKS, unfreeze="gradual")], ids=["blocks", "gradual"])
def test_a_run_that_ends_after_an_epoch_goes_on_as_if_it_had_not(recipe, start, tmp_path):
    whole = list(start(recipe, tmp_path / "whole"))
    events = start(recipe, tmp_path / "parts")
    for event in events:
        if event["kind"] == "epoch" and event["stage"] == "blocks" and event["epoch"] == 2:
            break
    events.close()  # in the middle of noting the second epoch: it is lost
    again = list(start(recipe, tmp_path / "parts"))
    (resumed,) = of_kind(again, "resumed")
    assert (resumed["stage"], resumed["epoch"]) == ("blocks", 1)
    for name in ("model.safetensors", "run/last.safetensors"):
        one, two = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert one.keys() == two.keys()
        for key in one:
            assert torch.allclose(one[key].float(), two[key].float(), atol=1e-6), (name, key)
    assert of_kind(whole, "report")[0]["confusion"] == of_kind(again, "report")[0]["confusion"]


def test_a_finished_run_tells_its_report_again(start, tmp_path):
    first, again = list(start(QUICK, tmp_path)), list(start(QUICK, tmp_path))
    assert not of_kind(again, "epoch")
    assert of_kind(first, "report")[0]["photos"] == of_kind(again, "report")[0]["photos"]


def test_the_seed_repeats_the_run(start, tmp_path):
    for name, recipe in (("a", BLOCKS), ("b", BLOCKS), ("c", replace(BLOCKS, seed=1))):
        list(start(recipe, tmp_path / name))
    one, two, other = (load_file(tmp_path / name / "run" / "last.safetensors") for name in "abc")
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one if key in other and one[key].shape == other[key].shape)


def test_diverging_blocks_leave_the_head(start, tmp_path):
    recipe = replace(BLOCKS, unfreeze="all", lr=100.0, warmup=0.0, ema=0.0, layer_decay=1.0, epochs=6, clip=0.0)
    (report,) = of_kind(list(start(recipe, tmp_path)), "report")
    assert any("choose a lower one (0.0001 is usual)" in note for note in report["notes"])
    assert report["accuracy"] >= report["baselines"]["head only"]["accuracy"]


def test_it_ends_where_nothing_gets_better(start, tmp_path):
    events = list(start(replace(BLOCKS, lr=1e-7, epochs=50, patience=1), tmp_path))
    assert len([each for each in of_kind(events, "epoch") if each["stage"] == "blocks"]) < 50
    assert any("the last 1 were no better" in each["text"] for each in of_kind(events, "note"))


@pytest.mark.parametrize(
    ("better", "patience", "epochs"),
    [
        ([True, True, False, False], 2, 4),
        ([False, True, False, True, False, False], 2, 6),  # one that is better begins the count anew
        ([False] * 6, 0, 6),  # no patience is no end
    ],
)
def test_patience_counts_the_epochs_since_the_best(better, patience, epochs, start, tmp_path, monkeypatch):
    real, told = State.better, iter(better)
    known = lambda self, scores, stage, epoch: real(self, scores, stage, epoch) if stage == "head" else next(told)  # noqa: E731
    monkeypatch.setattr(State, "better", known)
    events = list(start(replace(BLOCKS, epochs=6, patience=patience), tmp_path))
    assert len([each for each in of_kind(events, "epoch") if each["stage"] == "blocks"]) == epochs
    said = [each["text"] for each in of_kind(events, "note") if "no better" in each["text"]]
    assert said == ([f"Ended after {epochs} epochs: the last {patience} were no better."] if patience else [])


def test_a_full_disk_is_told_and_nothing_is_lost(start, tmp_path, monkeypatch):
    real, count = train.checkpoint.save, 0

    def save(state, path):
        nonlocal count
        count += path.name == "last.safetensors"
        if count == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(state, path)

    monkeypatch.setattr("vitdemo.core.training.checkpoint.save", save)
    with pytest.raises(UserError, match=r"can't be written \(No space left on device\): make room and start again"):
        list(start(BLOCKS, tmp_path))
    assert of_kind(list(start(BLOCKS, tmp_path)), "resumed")[0]["epoch"] == 1


def test_another_folder_s_files_are_left_alone(start, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        list(start(QUICK, tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


# Every switch reaches the step


@pytest.fixture
def stage(vit, folder):
    """stage(unfreeze="all", …) → the blocks with that recipe, and a batch of theirs."""
    samples, *_ = place(find_items([folder / "train"]), folder / "train")
    samples = [replace(each, id=str(index)) for index, each in enumerate(samples)]
    data = settle(samples, share=0.2, seed=0)
    chosen = data.of("train")
    targets = torch.tensor(data.targets(chosen))
    first = {"weight": torch.zeros(3, 48), "bias": torch.zeros(3)}

    def stage(**changes) -> Blocks:
        recipe = replace(Recipe(unfreeze="all", epochs=10, batch_size=8, accumulate=1), **changes)
        return Blocks(vit, first, chosen, targets.tolist(), recipe, balanced(targets, 3) if recipe.balance else None)

    return stage


BATCH = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def test_layer_wise_rates_reach_the_optimizer(stage):
    blocks = stage(lr=1e-3, layer_decay=0.5, warmup=0.3, epochs=4)
    steps = blocks.trainer.recipe.steps
    assert blocks.trainer.recipe.warmup == int(0.3 * steps)
    for _ in range(blocks.trainer.recipe.warmup):
        blocks.trainer.take(*BATCH)
    rate = 1e-3 * (1 + math.cos(math.pi * blocks.trainer.step / steps)) / 2
    names = {id(parameter): name for name, parameter in blocks.module.named_parameters()}
    found = {names[id(each)]: group["lr"] for group in blocks.trainer.optimizer.param_groups for each in group["params"]}
    for name, below in (
        ("head.weight", 0),
        ("norm.weight", 1),
        ("blocks.2.mlp.fc1.bias", 1),
        ("blocks.0.attn.qkv.weight", 3),
        ("cls_token", 4),
    ):
        assert found[name] == pytest.approx(rate * 0.5**below, rel=1e-6), name
    assert blocks.rates() == pytest.approx(
        {"head": rate, "block 3": rate / 2, "block 2": rate / 4, "block 1": rate / 8, "embedding": rate / 16}, rel=1e-6
    )


@pytest.mark.parametrize(
    ("unfreeze", "learning"), [("1", {"blocks.2"}), ("2", {"blocks.1", "blocks.2"}), ("all", {"blocks.0", "blocks.1", "blocks.2"})]
)
def test_what_learns(unfreeze, learning, stage):
    blocks = stage(unfreeze=unfreeze)
    blocks.trainer.take(*BATCH)
    moved = {
        ".".join(name.split(".")[:2]) for name, each in blocks.module.named_parameters() if each.grad is not None or each.requires_grad
    }
    assert {each for each in moved if each.startswith("blocks")} == learning
    assert {"head.weight", "norm.weight"} <= moved
    assert ("cls_token" in moved) == (unfreeze == "all")


def test_gradual_unfreezing_goes_from_the_top_and_adds_no_groups(stage):
    blocks = stage(unfreeze="gradual", epochs=6)
    assert [blocks.freed(epoch) for epoch in range(6)] == [1, 1, 2, 2, 3, 3]
    groups = len(blocks.trainer.optimizer.param_groups)
    assert [name for name, each in blocks.module.named_parameters() if each.requires_grad and name.startswith("blocks.1")] == []
    blocks.free(3)
    blocks.trainer.take(*BATCH)
    assert all(each.requires_grad for each in blocks.module.parameters())
    assert len(blocks.trainer.optimizer.param_groups) == groups


def test_four_times_eight_is_the_gradient_of_thirty_two(stage):
    make = torch.Generator().manual_seed(2)
    images, targets = torch.randn(32, 3, 224, 224, generator=make), torch.arange(32) % 3
    found = []
    for accumulate in (4, 1):
        blocks = stage(accumulate=accumulate, drop_path=0.0, balance=False, clip=0.0)
        blocks.trainer.optimizer.step = lambda *_: found.append(
            {name: each.grad.clone() for name, each in blocks.module.named_parameters()}  # noqa: B023
        )
        for part, targets_of in zip(images.chunk(accumulate), targets.chunk(accumulate), strict=True):
            blocks.trainer.take(part, targets_of)
    assert len(found) == 2
    for name in found[0]:
        assert torch.allclose(found[0][name], found[1][name], atol=1e-5), name


def test_what_is_left_at_an_epoch_s_end_counts_in_full(stage):
    blocks, alone = stage(accumulate=4, drop_path=0.0, balance=False, clip=0.0), stage(drop_path=0.0, balance=False, clip=0.0)
    assert blocks.trainer.take(*BATCH) is None
    update, single = blocks.trainer.finish(), alone.trainer.take(*BATCH)
    assert update.loss == pytest.approx(single.loss, abs=1e-6)
    assert blocks.trainer.finish() is None
    for mine, other in zip(blocks.module.parameters(), alone.module.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_more_blocks_than_there_are(start, tmp_path):
    """Said before the first photo is looked at."""
    with pytest.raises(UsageError, match="This model has 3 blocks"):
        next(iter(start(replace(QUICK, unfreeze="4"), tmp_path)))
    assert not any(tmp_path.iterdir())


def test_precision_reaches_the_pass(stage):
    seen = []
    for precision in ("fp32", "bf16"):
        blocks = stage(precision=precision)
        blocks.module.blocks[0].mlp.fc1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        blocks.trainer.take(*BATCH)
        logits = torch.zeros(8, 3, dtype=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            assert blocks.trainer.loss(logits, BATCH[1]).dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16]
    assert stage().precision == "fp32"


def test_the_scaler_is_there_for_fp16_alone(stage):
    assert [stage(precision=each).trainer.scaler.is_enabled() for each in ("fp16", "bf16", "fp32")] == [True, False, False]


def test_checkpointing_comes_by_itself_where_memory_is_short(stage, vit, monkeypatch):
    needed = blocks_module.activations(vit, 8)
    assert needed == 4 * 8 * 3 * 197 * 48 * 24
    for free, on in ((2.1 * needed, False), (1.9 * needed, True)):
        monkeypatch.setattr(blocks_module, "free_memory", lambda device, free=free: free)
        assert stage().module.grad_checkpointing is on


def test_checkpointing_computes_the_same_twice(stage):
    counts, losses = [], []
    for checkpointing in (False, True):
        blocks, passes = stage(checkpointing=checkpointing, drop_path=0.0), []
        blocks.module.blocks[0].mlp.fc1.register_forward_hook(lambda *_: passes.append(1))  # noqa: B023
        losses.append([blocks.trainer.take(*BATCH).loss for _ in range(2)])
        counts.append(len(passes))
    assert counts == [2, 4]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_drop_path_rises_to_the_last_block(stage):
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in stage(drop_path=0.3).module.blocks]
    theirs = timm.create_model("vit_tiny_patch16_224", depth=3, embed_dim=48, num_heads=3, drop_path_rate=0.3)
    assert rates == pytest.approx([getattr(block.drop_path1, "drop_prob", 0.0) for block in theirs.blocks])
    assert isinstance(stage(drop_path=0.3).module.blocks[2].drop_path2, DropPath)


def test_the_other_switches(stage):
    plain, other = stage(), stage(label_smoothing=0.3, balance=False, clip=0.0, ema=0.9, weight_decay=0.2)
    assert plain.trainer.loss.weight.tolist() == pytest.approx(balanced(torch.tensor([0] * 6 + [1] * 6 + [2] * 6), 3).tolist())
    assert (plain.trainer.recipe.clip, plain.trainer.average) == (1.0, None)
    assert (other.trainer.loss.label_smoothing, other.trainer.loss.weight, other.trainer.recipe.clip) == (0.3, None, None)
    assert other.trainer.average.decay == 0.9
    assert {group["weight_decay"] for group in other.trainer.optimizer.param_groups} == {0.0, 0.2}


def test_weights_of_rare_classes():
    targets = torch.tensor([0] * 6 + [1] * 2)
    weights = balanced(targets, 2)
    assert (weights[0] * 6).item() == pytest.approx((weights[1] * 2).item())
    assert weights[targets].mean().item() == pytest.approx(1)


def test_minibatches_learn_what_the_exact_head_does():
    make = torch.Generator().manual_seed(0)
    inputs, targets = 5 + 3 * torch.randn(90, 8, generator=make), torch.arange(90) % 3
    inputs[:, 0] += 6 * targets
    learner = MinibatchHead(Known(inputs, targets), 3, None, 0)
    losses = [learner.epoch(number) for number in range(20)]
    assert losses[-1] < losses[0] < 1.2
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    assert torch.allclose(answer(learner.folded(), inputs), learner.linear(standard), atol=1e-4)


def test_views_are_learned_from_as_well(start, tmp_path):
    events = list(start(replace(QUICK, views=2), tmp_path))
    assert [each["done"] for each in of_kind(events, "photos") if each["done"] == each["total"]] == [36, 24, 24]
    assert {each.name for each in (tmp_path / "run").glob("view-*")} == {"view-1.safetensors", "view-2.safetensors"}


def test_half_a_feature_file_is_no_loss(tmp_path):
    (tmp_path / "f.safetensors").write_bytes(b"half")
    assert FeatureCache(tmp_path / "f.safetensors", "key").rows == {}


def test_a_bundle_is_written_whole_or_not_at_all(vit, tmp_path, monkeypatch):
    bundle.write(vit.module, ["a"] * 8, vit.preprocessing, tmp_path, {})
    before = (tmp_path / "model.safetensors").read_bytes()
    monkeypatch.setattr(bundle, "save_file", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        bundle.write(vit.module, ["b"] * 8, vit.preprocessing, tmp_path, {})
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == ["a"] * 8


def test_samples_carry_what_was_read(fresh, engine, folder, tmp_path):
    samples, *_ = place(find_items([folder]), folder)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    samples.append(Sample(find_items([broken])[0], "red"))
    cache, vit = FeatureCache(tmp_path / "f.safetensors", "key"), fresh()
    found = dict(
        pair for part in cache.compute(vit, samples, lambda photo: vit.preprocessing(photo.image), engine, Settings()) for pair in part
    )
    assert sorted(found) == list(range(len(samples)))
    assert found[len(samples) - 1].error.startswith("“broken.png” ")
    with torch.inference_mode():
        image = vit.preprocessing(Image.open(samples[3].item.path).convert("RGB"))[None]
        expected = vit.logits_and_features(image)[1][0]
    assert torch.allclose(cache.rows[found[3].id], expected, atol=1e-4)
