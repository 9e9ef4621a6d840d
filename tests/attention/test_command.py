"""`python -m vitdemo attention`: its files, what it says, and its exit status."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from tests.support.apps import ROOT, TINY
from tests.support.pictures import noise
from vitdemo.attention.command import METHODS
from vitdemo.attention.drawing import render
from vitdemo.attention.methods import gradients, maps
from vitdemo.attention.methods.artefacts import find_artefacts
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.heads import lens_table
from vitdemo.attention.methods.votes import ledger
from vitdemo.attention.question import Question, title
from vitdemo.cli import main
from vitdemo.core.figures import percent
from vitdemo.core.inference.trace_cache import run_trace

NUMBERS = {"heat", "heats", "attention_cls", "logits", "lens_probabilities", "model", "target", "rival", "box", "artefacts", "off"}


def timm_readout(module, tensor) -> torch.Tensor:
    """What the head makes of every block's CLS token, (layers, classes), by timm alone."""
    layers = module.forward_intermediates(tensor[None], norm=True, intermediates_only=True, return_prefix_tokens=True)
    return torch.cat([module.head(prefix[:, 0]).softmax(-1) for _, prefix in layers])


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The machine's own VITDEMO_* settings stay out of the tests."""
    for name in ("MODEL", "CHECKPOINT", "DEVICE", "PRECISION", "MAX_UPLOAD_MB", "MAX_MEGAPIXELS", "TRACE_CACHE_MB"):
        monkeypatch.delenv(f"VITDEMO_{name}", raising=False)


@pytest.fixture
def model(bundle) -> list[str]:
    return ["--model", f"local-dir:{bundle}", "--device", "cpu"]


@pytest.fixture
def ask(picture, model):
    return lambda *arguments: main(["attention", str(picture), *model, *arguments])


@pytest.fixture(scope="module")
def expected(vit, engine, picture):
    """The trace of the picture, its model input and its top class, by the functions that other tests check."""
    tensor = vit.preprocessing(Image.open(picture))
    found = run_trace(vit, engine, tensor)
    return found, tensor, int(found.logits.argmax())


@pytest.mark.parametrize("method", METHODS)
def test_numbers_and_picture(method, ask, vit, engine, picture, expected, tmp_path, capsys):
    found, tensor, top = expected
    png, npz = tmp_path / "new" / "a.png", tmp_path / "new" / "a.npz"
    assert ask("--method", method, "--output", str(png), "--npz", str(npz)) == 0
    heat = {
        "cls": lambda: maps.cls_map(found, layer=3),
        "rollout": lambda: maps.rollout(found),
        "relevance": lambda: maps.relevance(found, gradients.attention_gradient(vit, engine, tensor, top)),
        "votes": lambda: ledger(vit, engine, found, top).patches(found),
        "fullgrad": lambda: fullgrad(vit, engine, tensor, top).heats(found)[-1],
        "gradient-rollout": lambda: maps.gradient_rollout(found, gradients.attention_gradient(vit, engine, tensor, top)),
    }[method]()
    geometry = vit.preprocessing.geometry((320, 240), vit.patch)
    with np.load(npz) as file:
        ledgers = (
            {f"votes_{name}" for name in ("heads", "mlps", "biases", "embedding", "constant", "total")} if method == "votes" else set()
        )
        assert set(file.files) == NUMBERS | ledgers
        assert (file["heat"].dtype, file["heat"].shape) == (np.float32, (14, 14))
        assert np.allclose(file["heat"], heat, atol=1e-6 * float(heat.max()))
        assert (file["heats"].shape, np.array_equal(file["heats"][-1], file["heat"])) == ((3, 14, 14), True)
        assert (file["target"], file["rival"]) == (-1 if method in ("rollout", "cls") else top, -1)
        assert file["off"].shape == (0, 2)
        assert (file["attention_cls"].dtype, file["attention_cls"].shape) == (np.float32, (3, 3, 14, 14))
        assert np.array_equal(file["attention_cls"], found.attention[:, :, 0, 1:].unflatten(-1, (14, 14)))
        with torch.inference_mode():
            assert np.array_equal(file["logits"], vit.module(tensor[None])[0])
            head = timm_readout(vit.module, tensor)
        np.testing.assert_allclose(file["lens_probabilities"], head, atol=1e-6)
        assert file["box"] == pytest.approx(geometry.box)
        assert file["artefacts"].tolist() == [list(place) for place in find_artefacts(found).places]
    signed = (render.OverlayStyle(render.DIFFERENCE), render.even_span(heat)) if method in ("votes", "fullgrad") else (None, None)
    assert np.array_equal(Image.open(png), render.overlay(Image.open(picture), heat, geometry, signed[0], span=signed[1]))
    printed = capsys.readouterr()
    row, column = divmod(int(heat.argmax()), 14)
    assert printed.out.startswith(f"{title(Question(method), found, vit)}: {heat.min():.3g} to {heat.max():.3g}, highest in ")
    assert f"highest in row {row}, column {column} of 14×14\n" in printed.out
    assert f"{vit.name} on cpu, weights from a local folder" in printed.err


def test_the_ledger_and_the_lens(ask, vit, engine, expected, tmp_path, capsys):
    found, _, top = expected
    assert ask("--method", "votes", "--rival", "7", "--lens", "--npz", str(tmp_path / "a.npz")) == 0
    votes, printed = ledger(vit, engine, found, top, 7), capsys.readouterr().out
    difference = float(found.logits[top] - found.logits[7])
    assert f"The votes of all layers add up to {difference:.4f}, and the logits differ by {difference:.4f}. The most: layer " in printed
    layer, head, vote = votes.top_heads(1)[0]
    assert (vote, float(votes.heads[layer - 1, head])) == pytest.approx((float(votes.heads.max()),) * 2)
    assert f"The most: layer {layer} head {head} {vote:.3f}, " in printed
    with np.load(tmp_path / "a.npz") as file:
        assert (file["target"], file["rival"]) == (top, 7)
        entries = [file[f"votes_{name}"].sum() for name in ("heads", "mlps", "biases", "embedding", "constant")]
        assert sum(entries) == pytest.approx(difference, abs=1e-5)
    for row in lens_table(found, vit, engine):
        index, probability = row.classes[0]
        assert f"after layer {row.layer}: {vit.labels[index].short} {probability:.3f}, " in printed


@contextmanager
def silenced(module, heads: dict[int, list[int]]):
    """Zero the part of each head in the input of its block's projection, with torch's own hooks. Blocks count from 0."""

    def hook(block):
        def silence(_, inputs):
            each = inputs[0].unflatten(-1, (3, -1)).clone()  # (B, N, H, d)
            each[:, :, heads[block]] = 0
            return each.flatten(-2)

        return silence

    hooks = [module.blocks[block].attn.proj.register_forward_pre_hook(hook(block)) for block in heads]
    yield
    for each in hooks:
        each.remove()


def test_heads_off(ask, vit, expected, tmp_path, capsys):
    found, tensor, top = expected
    with torch.inference_mode(), silenced(vit.module, {0: [2], 1: [0, 1, 2]}):
        logits = vit.module(tensor[None])[0]
    assert ask("--method", "votes", "--off", "2", "--off", "1:2", "--off", "2:1", "--npz", str(tmp_path / "a.npz")) == 0
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_allclose(file["logits"], logits, atol=1e-5)
        assert file["off"].tolist() == [[1, 2], [2, 0], [2, 1], [2, 2]]
        assert file["target"] == top
        assert not file["votes_heads"][[0, 1, 1, 1], [2, 0, 1, 2]].any()
        assert float(file["votes_total"]) == pytest.approx(float(logits[top]), abs=1e-4)
    printed = capsys.readouterr().out.splitlines()
    before, after = (percent(float(each.softmax(-1)[top])) for each in (found.logits, logits))
    assert printed[1:3] == ["Without 4 heads:", f"  {vit.labels[top].short} {before} → {after}"]
    assert {line.rsplit(" %", 2)[0].strip().rsplit(" ", 1)[0] for line in printed[3:7]} <= {label.short for label in vit.labels}


def test_heads_off_and_the_class_of_the_map(ask, vit, expected, tmp_path, capsys):
    found, tensor, _ = expected
    last = int(found.logits.argmin())
    with torch.inference_mode(), silenced(vit.module, {2: [0]}):
        after = vit.module(tensor[None])[0].softmax(-1)
    assert ask("--off", "3:0", "--target", str(last)) == 0
    moved = f"  {vit.labels[last].short} {percent(float(found.logits.softmax(-1)[last]))} → {percent(float(after[last]))}\n"
    assert f"\nWithout 1 head:\n{moved}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "map_of"),
    [
        (["--method", "cls", "--layer", "2", "--head", "1"], lambda found, _: maps.cls_map(found, layer=2, head=1)),
        (["--method", "cls", "--head", "min"], lambda found, _: maps.cls_map(found, layer=3, head="min")),
        (["--method", "rollout", "--fusion", "max", "--discard", "0.5"], lambda found, _: maps.rollout(found, fusion="max", discard=0.5)),
        (["--method", "rollout", "--start-layer", "2", "--layer", "2"], lambda found, _: maps.rollout(found, start_layer=2, layer=2)),
        (["--method", "relevance", "--target", "cat", "--layer", "2"], lambda found, slope: maps.relevance(found, slope(2), layer=2)),
        ([], lambda found, slope: maps.relevance(found, slope(int(found.logits.argmax())))),
        (["--target", "7", "--gradient", "plain"], lambda found, slope: maps.relevance(found, slope(7, "plain"))),
        (["--target", "7", "--rival", "cat"], lambda found, slope: maps.relevance(found, slope(7)) - maps.relevance(found, slope(2))),
        (["--method", "relevance", "--target", "7"], lambda found, slope: maps.relevance(found, slope(7))),
        (
            ["--method", "gradient-rollout", "--target", "<b>egg</b>", "--start-layer", "3"],
            lambda found, slope: maps.gradient_rollout(found, slope(4), start_layer=3),
        ),
    ],
)
def test_options(arguments, map_of, ask, vit, engine, expected, tmp_path):
    found, tensor, _ = expected
    heat = map_of(found, lambda *asked: gradients.attention_gradient(vit, engine, tensor, *asked))
    assert ask(*arguments, "--npz", str(tmp_path / "a.npz")) == 0
    assert np.allclose(np.load(tmp_path / "a.npz")["heat"], heat, atol=1e-6 * float(heat.max()))


def test_the_picture_is_upright_and_whole(model, tmp_path):
    photo = noise(60, 40)
    exif = photo.getexif()
    exif[0x0112] = 6  # turned by 90°
    photo.save(tmp_path / "turned.jpg", exif=exif)
    arguments = ["--method", "rollout", *model, "--output", str(tmp_path / "a.png"), "--npz", str(tmp_path / "a.npz")]
    assert main(["attention", str(tmp_path / "turned.jpg"), *arguments]) == 0
    assert Image.open(tmp_path / "a.png").size == (40, 60)
    left, top, right, bottom = np.load(tmp_path / "a.npz")["box"]
    assert 0 <= left < right <= 40
    assert 0 < top < bottom < 60


def test_a_photo_unlike_anything_learned_is_said(picture, capsys):
    assert main(["attention", str(picture), "--method", "cls", "--model", "demo", "--device", "cpu"]) == 0
    assert "vitdemo: Unlike anything the model was trained on: its answer is a guess." in capsys.readouterr().err


def test_a_photo_mostly_outside_the_crop_is_said(model, tmp_path, capsys):
    noise(400, 60).save(tmp_path / "long.png")
    assert main(["attention", str(tmp_path / "long.png"), "--method", "cls", *model]) == 0
    assert "vitdemo: The model sees 12 % of this photo, inside the frame: crop it yourself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--method", "grad-cam"],
            "--method is “grad-cam”, but it must be one of relevance, votes, fullgrad, rollout, gradient-rollout, cls.",
        ),
        (["--gradient", "lrp"], "--gradient is “lrp”, but it must be one of libra, plain."),
        (["--rival", "zebra"], "bundle0 has no class “zebra”"),
        (["--method", "cls", "--layer", "4"], "There is no layer 4: choose one from 1 to 3."),
        (["--method", "cls", "--layer", "0"], "There is no layer 0: choose one from 1 to 3."),
        (["--method", "cls", "--head", "3"], "There is no head 3: choose one from 0 to 2, or mean, max, min."),
        (["--method", "cls", "--head", "most"], "--head is “most”, but it must be a number from 0 on or one of mean, max, min."),
        (["--method", "rollout", "--fusion", "sum"], "--fusion is “sum”, but it must be one of mean, max, min."),
        (["--method", "rollout", "--discard", "1"], "The share of links to discard must be at least 0 and less than 1; 1 was asked for."),
        (["--method", "rollout", "--start-layer", "9"], "There is no layer 9: choose one from 1 to 3."),
        (
            ["--method", "relevance", "--start-layer", "3", "--layer", "1"],
            "Layer 1 comes before the start layer 3: choose an earlier start",
        ),
        (["--method", "relevance", "--target", "8"], "There is no class 8: choose one from 0 to 7."),
        (["--method", "relevance", "--target", "-1"], "There is no class -1: choose one from 0 to 7."),
        (["--target", "3", "--rival", "3"], "The class and its rival are the same, and would cancel out: choose two classes."),
        (["--method", "relevance", "--target", "zebra"], "bundle0 has no class “zebra”"),
        (["--off", "4"], "There is no layer 4: choose one from 1 to 3."),
        (["--off", "0:0"], "There is no layer 0: choose one from 1 to 3."),
        (["--off", "1:3"], "There is no head 3: choose one from 0 to 2."),
        (["--off", "1:0", "--off", "1,2"], "--off is “1,2”, but it must be a layer and a head, such as 3:0, or a layer, such as 3."),
        (["--off", "-1"], "--off is “-1”, but it must be a layer and a head"),
        (["--method", "cls", "--output", "a.jpg"], "--output must end in .png."),
        (["--method", "cls", "--npz", "a.zip"], "--npz must end in .npz."),
        (["--method", "cls", "--trace-cache-mb", "1"], "--trace-cache-mb is “1”, but it must be a whole number from 64 to 1000000."),
    ],
)
def test_wrong_usage(ask, capsys, arguments, said):
    assert ask(*arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"vitdemo: {said}")


@pytest.mark.parametrize("arguments", [["--method"], ["--method", "cls", "--layer", "two"], ["--method", "cls", "--colour", "red"]])
def test_arguments_that_make_no_command(ask, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        ask(*arguments)
    assert ended.value.code == 2
    assert "usage: python -m vitdemo" in capsys.readouterr().err


def test_a_file_that_is_no_photo(model, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    for name in ("bad.jpg", "gone.jpg"):
        assert main(["attention", str(tmp_path / name), "--method", "cls", *model]) == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_places_that_can_not_be_written(ask, tmp_path, capsys):
    (tmp_path / "file").touch()
    for flag, name in (("--output", "a.png"), ("--npz", "a.npz")):
        assert ask("--method", "cls", flag, str(tmp_path / "file" / name)) == 1
        assert "can't be written" in capsys.readouterr().err
        (tmp_path / name).mkdir()
        assert ask("--method", "cls", flag, str(tmp_path / name)) == 1
        assert "can't be written (Is a directory): choose another place." in capsys.readouterr().err


def test_flags_that_change_nothing_are_said(ask, capsys):
    assert ask("--method", "rollout", "--head", "1", "--target", "cat") == 0
    said = capsys.readouterr().err
    assert "vitdemo: --head changes nothing for rollout.\nvitdemo: --target changes nothing for rollout.\n" in said
    assert ask("--method", "votes", "--gradient", "plain", "--rival", "cat") == 0
    said = capsys.readouterr().err
    assert "vitdemo: --gradient changes nothing for votes.\n" in said
    assert "--rival" not in said


def test_a_model_without_classes(picture, tmp_path, capsys):
    shape = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape)
    save_for_hf(backbone, tmp_path / "b", model_config={"model_args": shape}, safe_serialization=True)
    model = ["--model", f"local-dir:{tmp_path / 'b'}", "--device", "cpu"]
    assert main(["attention", str(picture), "--method", "relevance", *model]) == 1
    assert "b gives features, not classes: choose the method cls or rollout, or a model with classes." in capsys.readouterr().err
    assert main(["attention", str(picture), "--method", "rollout", *model, "--npz", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as file:
        assert file["logits"].shape == (0,)
        assert "lens_probabilities" not in file
    assert main(["attention", str(picture), "--method", "rollout", *model, "--off", "1"]) == 2
    assert "b gives features, not classes, so no head moves its answer: choose a model with classes." in capsys.readouterr().err


def test_the_real_model_by_the_name_of_a_class(tiny_checkpoint, shared, tmp_path, capsys):
    photo = next((shared / "data" / "pets" / "images").glob("cat_Bengal_109.jpg"))
    arguments = ["--model", TINY, "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--method", "relevance"]
    assert main(["attention", str(photo), *arguments, "--target", "Egyptian cat", "--npz", str(tmp_path / "a.npz")]) == 0
    printed = capsys.readouterr().out
    assert "Relevance for Egyptian cat, layers 1 to 12: " in printed
    assert "4 corner patches hold " in printed
    assert np.load(tmp_path / "a.npz")["artefacts"].tolist() == [[0, 0], [0, 13], [13, 0], [13, 13]]
    assert np.load(tmp_path / "a.npz")["attention_cls"].shape == (12, 3, 14, 14)
    assert main(["attention", str(photo), *arguments, "--target", "crane"]) == 2
    assert "“crane” names classes 134 and 517: give the index of the one you mean." in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    program = "import sys\nfrom vitdemo.cli import main\ntry:\n    main(['attention', '-h'])\nexcept SystemExit:\n    print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "--start-layer" in told.stdout
    assert not set(told.stdout.splitlines()[-1].split()) & {"torch", "timm", "matplotlib", "PIL", "numpy", "gradio"}
