"""The command line: what it prints and writes, and its exit status."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image

from tests.support.apps import ROOT
from tests.support.pictures import noise
from tests.support.profiles import ADOBE_RGB, of_screen
from vitdemo import __version__
from vitdemo.classify.gallery import PredictionRow
from vitdemo.cli import main
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.photos.photo import open_photo

FACTS = {"model", "sha256", "folder", "true_class", "correct", "label_conflict", "duplicate_of", "unfamiliar"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The machine's own VITDEMO_* settings stay out of the tests."""
    for name in ("MODEL", "CHECKPOINT", "DEVICE", "PRECISION", "MAX_UPLOAD_MB", "MAX_MEGAPIXELS"):
        monkeypatch.delenv(f"VITDEMO_{name}", raising=False)


@pytest.fixture
def gallery(tmp_path) -> Path:
    """Two photos with a bad file between them."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    noise(40, 30, seed=1).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"no photo")
    noise(50, 60, seed=2).save(folder / "c.png")
    return folder


@pytest.fixture
def model(bundle) -> list[str]:
    return ["--model", f"local-dir:{bundle}", "--device", "cpu"]


def test_classify_a_folder_to_json(gallery, model, vit, tmp_path, capsys):
    output = tmp_path / "new" / "out.json"
    assert main(["classify", str(gallery), *model, "--top", "3", "--output", str(output)]) == 0
    first, bad, last = json.loads(output.read_text("utf-8"))
    assert [first["path"], bad["path"], last["path"]] == [str(gallery / name) for name in ("a.png", "b.jpg", "c.png")]
    assert bad.keys() - FACTS == {"path", "error"}
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(vit.module), is_training=False)
    for row in (first, last):
        with torch.inference_mode():
            probabilities, indices = vit.module(transform(Image.open(row["path"]))[None])[0].softmax(-1).topk(3)
        assert [each["index"] for each in row["predictions"]] == indices.tolist()
        assert [each["label"] for each in row["predictions"]] == [vit.labels[index].name for index in indices]
        assert [each["probability"] for each in row["predictions"]] == pytest.approx(probabilities.tolist(), abs=1e-4)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert bad["error"] in printed.err
    assert f"3 rows in {output}, 1 with an error" in printed.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_classify_to_other_formats(gallery, model, tmp_path, suffix):
    assert main(["classify", str(gallery), *model, "--output", str(tmp_path / f"out.{suffix}")]) == 0
    assert (tmp_path / f"out.{suffix}").stat().st_size > 100


@pytest.mark.parametrize(("fault", "status"), [(KeyboardInterrupt, 130), (UserError("Too little memory is free."), 1)])
def test_classify_keeps_what_is_done_where_it_ends_early(gallery, model, tmp_path, monkeypatch, capsys, fault, status):
    from vitdemo.classify import gallery as module

    whole = module.classify_gallery

    def early(*arguments, **named):
        yield from islice(whole(*arguments, **named), 2)
        raise fault

    monkeypatch.setattr(module, "classify_gallery", early)
    output = tmp_path / "out.json"
    assert main(["classify", str(gallery), *model, "--output", str(output)]) == status
    assert [Path(row["path"]).name for row in json.loads(output.read_text("utf-8"))] == ["a.png", "b.jpg"]
    assert "after 2 of 3 photos" in capsys.readouterr().err


def test_classify_to_the_terminal(gallery, model, vit, capsys):
    assert main(["classify", str(gallery / "c.png"), str(gallery / "b.jpg"), str(gallery / "a.png"), *model, "--top", "2"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [lines[0], lines[3]] == [str(gallery / "c.png"), str(gallery / "a.png")]
    assert len(lines) == 6
    with torch.inference_mode():
        probability, index = vit.module(vit.preprocessing(Image.open(gallery / "c.png"))[None])[0].softmax(-1).max(-1)
    assert lines[1].split() == [*percent(probability).split(), vit.labels[index].name]
    assert "vitdemo: “b.jpg” is not a photo" in printed.err
    assert f"{vit.name} on cpu, weights from a local folder" in printed.err


@pytest.mark.parametrize("icc", ["auto", "ignore", "convert"])
def test_colours_as_asked(gallery, model, vit, tmp_path, icc):
    path = gallery / "c.png"
    noise(50, 60).save(path, icc_profile=of_screen("Adobe", ADOBE_RGB, 2.2))
    image = open_photo(path, Settings()).image
    tensor = replace(vit.preprocessing, icc="convert" if icc == "convert" else "ignore")(image)
    with torch.inference_mode():
        expected, features = vit.module(tensor[None])[0].softmax(-1), vit.module.forward_features(tensor[None])[0, 0]
    flags = [*model, "--icc", icc] if icc != "auto" else model
    assert main(["classify", str(path), *flags, "--top", "8", "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert {each["index"]: each["probability"] for each in row["predictions"]} == pytest.approx(
        dict(enumerate(expected.tolist())), abs=1e-4
    )
    npz = tmp_path / "out.npz"
    for _ in range(2):  # the second time from the cache
        assert main(["embed", str(path), *flags, "--output", str(npz), "--cache-dir", str(tmp_path / "cache")]) == 0
        np.testing.assert_allclose(np.load(npz)["embeddings"][0], features, atol=1e-4)
    assert main(["embed", str(path), *model, "--output", str(npz), "--cache-dir", str(tmp_path / "cache")]) == 0
    assert np.allclose(np.load(npz)["embeddings"][0], features, atol=1e-4) == (icc != "convert")  # another question for the cache
    assert main(["attention", str(path), *flags, "--method", "rollout", "--npz", str(npz)]) == 0
    np.testing.assert_allclose(np.load(npz)["logits"], expected.log() - expected.log()[0] + np.load(npz)["logits"][0], atol=1e-3)


def test_real_weights_from_a_checkpoint(shared, tiny_checkpoint, capsys):
    photo = next((shared / "data" / "imagenet_val" / "n02099601").iterdir()).parent  # ten golden retrievers
    arguments = ["--model", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    assert main(["classify", str(photo), *arguments, "--top", "1"]) == 0
    best = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert len(best) == 10
    assert sum("golden retriever" in line for line in best) >= 5


def test_only_bad_files(gallery, model, tmp_path, capsys):
    arguments = ["classify", str(gallery / "b.jpg"), str(gallery / "gone.jpg"), *model]
    assert main(arguments) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main([*arguments, "--output", str(tmp_path / "out.json")]) == 1
    assert [each.keys() - FACTS for each in json.loads((tmp_path / "out.json").read_text("utf-8"))] == [{"path", "error"}] * 2


def test_copies_in_folders_of_two_classes_are_told(model, vit, tmp_path, capsys):
    noise(50, 60).save(tmp_path / "photo.png")
    for name in ("cat", "boat"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "copy.png").write_bytes((tmp_path / "photo.png").read_bytes())
    assert main(["classify", str(tmp_path / "in"), *model, "--output", str(tmp_path / "out.json")]) == 0
    assert "2 photos are copies in folders of different classes: they count neither as correct nor as wrong." in capsys.readouterr().err
    first, second = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert (first["true_class"], first["folder"], first["model"], first["duplicate_of"]) == ("boat", "boat", vit.name, None)
    assert (second["true_class"], second["duplicate_of"], second["correct"], second["label_conflict"]) == ("cat", first["path"], None, True)


def test_no_photos_at_all(tmp_path, model, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["classify", str(tmp_path / "empty"), *model]) == 1
    assert capsys.readouterr().err == (
        "vitdemo: There are no photos in what you gave: give photos, or a folder or zip that holds some. No photo was found in “empty”.\n"
    )


def test_what_is_left_out_is_told(tmp_path, gallery, model, capsys):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_bytes((gallery / "a.png").read_bytes())
    (tmp_path / "given" / "notes.txt").write_text("Hello")
    Image.new("RGBA", (8, 8)).save(tmp_path / "given" / "b.png")
    assert main(["classify", str(tmp_path / "given"), *model]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{tmp_path}/given/a\n")
    assert "vitdemo: 1 file that is no photo is left out (1 .txt).\n" in told.err
    assert "vitdemo: 1 photo: Transparent parts are shown on white.\n" in told.err


def test_a_name_longer_than_names_can_be(tmp_path, gallery, model, capsys):
    assert main(["classify", str(tmp_path / ("a" * 300 + ".jpg")), str(gallery / "a.png"), *model]) == 0
    assert "can't be read (File name too long)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top", "0"], "--top must be 1 or more."),
        (["--top", "-3"], "--top must be 1 or more."),
        (["--output", "out.txt"], "--output must end in .json, .csv or .parquet."),
        (["--output", "out"], "--output must end in .json, .csv or .parquet."),
        (["--device", "tpu"], "--device is “tpu”, but it must be auto, cpu, cuda, cuda:1 or mps."),
        (["--device", "auto:1"], "--device is “auto:1”, but it must be auto, cpu, cuda, cuda:1 or mps."),
        (["--precision", "fp8"], "--precision is “fp8”, but it must be one of fp32, bf16, fp16, auto."),
        (["--max-upload-mb", "0"], "--max-upload-mb is “0”, but it must be a whole number from 1 to 2000."),
    ],
)
def test_wrong_usage(gallery, model, capsys, arguments, said):
    assert main(["classify", str(gallery), *model, *arguments]) == 2
    assert capsys.readouterr().err == f"vitdemo: {said}\n"


def test_wrong_variable(gallery, model, capsys, monkeypatch):
    monkeypatch.setenv("VITDEMO_MAX_MEGAPIXELS", "lots")
    assert main(["classify", str(gallery), *model]) == 2
    assert "VITDEMO_MAX_MEGAPIXELS is “lots”" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["classify"], ["paint"], ["classify", "a.png", "--top", "many"], ["classify", "a.png", "--colour", "red"]]
)
def test_arguments_that_make_no_command(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m vitdemo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["embed"], "PATH"),
        (["attention", "--method", "rollout"], "PATH"),
        (["map", "--output", "a.html"], "DIR"),
        (["map", "vectors"], "--output"),
        (["finetune", "--output", "out"], "FOLDER"),
        (["finetune", "photos"], "--output"),
        (["export", "--output", "out"], "--format"),
        (["export", "--format", "onnx"], "--output"),
        (["sketch", "--output", "out"], "--count"),
        (["sketch", "--count", "3"], "--output"),
    ],
)
def test_what_a_command_can_not_do_without(arguments, missing, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"the following arguments are required: {missing}\n")


@pytest.mark.parametrize("flags", [("--minutes", "0"), ("--minutes", "nan"), ("--clients", "0"), ("--clients", "1001")])
def test_a_load_out_of_range(capsys, flags):
    assert main(["bench", "load", *flags]) == 2
    assert "--minutes must be more than 0 and at most 1440, and --clients from 1 to 1000." in capsys.readouterr().err


def test_unknown_bench(capsys):
    assert main(["bench", "nothing"]) == 2
    assert "There is no bench nothing: choose from startup" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "resnet50"], "“resnet50” has no attention from every patch to every patch"),
        (["--model", "vit_tiny_patch99"], "timm has no model “vit_tiny_patch99” (perhaps "),
        (["--model", "vit_tiny_patch16_224.none"], "timm knows no weights “vit_tiny_patch16_224.none”"),
        (["--model", "local-dir:/"], "/ has no config.json, so it is no bundle"),
        (["--model", "demo", "--device", "cuda:99"], "torch sees "),
        (["--model", "demo", "--labels", "/nowhere.txt"], "The names of classes in /nowhere.txt can't be read"),
        (["--model", "local-dir:/nowhere"], "There is no folder /nowhere"),
        (["--checkpoint", "/nowhere.safetensors"], "There is no weights file /nowhere.safetensors"),
    ],
)
def test_a_model_that_can_not_be_had(gallery, capsys, arguments, said):
    assert main(["classify", str(gallery), "--device", "cpu", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"vitdemo: {said}")
    assert len(printed.err.splitlines()) == 1


def test_output_that_can_not_be_written(gallery, model, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["classify", str(gallery), *model, "--output", str(tmp_path / "file" / "out.json")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_names_do_not_steer_the_terminal(tmp_path, model, capsys):
    name = "a\x1b[2J\n\u202egnp.png"
    noise(40, 30).save(tmp_path / name, "png")
    (tmp_path / f"bad {name}").write_bytes(b"no photo")
    assert main(["classify", str(tmp_path), *model, "--top", "1"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 2
    assert lines[0] == ascii(str(tmp_path / name))
    assert all(line.isprintable() for line in (*lines, *printed.err.splitlines()))
    assert len(printed.err.splitlines()) == 2  # the model's line and the bad file's


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_standard_output_that_is_full(gallery, model, buffered):
    command = [sys.executable, "-m", "vitdemo", "classify", str(gallery), *model]
    with open("/dev/full", "w") as full:
        environ = os.environ | {"PYTHONUNBUFFERED": buffered}
        told = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, env=environ)
    assert told.returncode == 1
    assert told.stderr.endswith("vitdemo: The standard output can't be written (No space left on device): send it elsewhere.\n")
    assert "Traceback" not in told.stderr


def test_a_standard_output_that_is_closed(tmp_path):
    script = f'"{sys.executable}" -m vitdemo sketch --count 1 --output "{tmp_path / "drawn"}" >&-'
    told = subprocess.run(["sh", "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (told.returncode, "Traceback" in told.stderr) == (0, False)
    assert (tmp_path / "drawn").is_dir()


def test_help_from_a_shell():
    told = run("-m", "vitdemo", "--help")
    assert told.returncode == 0
    assert "usage: python -m vitdemo" in told.stdout
    assert "classify" in told.stdout
    assert told.stderr == ""
    assert run("-m", "vitdemo", "--version").stdout.strip() == __version__
    assert run("-m", "vitdemo").returncode == 2


def test_help_does_not_wait_for_torch():
    program = "import sys\nfrom vitdemo.cli import main\ntry:\n    main({!r})\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    for arguments in (["--help"], ["classify", "--help"]):
        told = run("-c", program.format(arguments))
        loaded = set(told.stderr.split())
        assert "usage: python -m vitdemo" in told.stdout
        assert "vitdemo.core.config" in loaded
        assert not loaded & {"torch", "torchvision", "timm", "gradio", "PIL", "numpy", "pyarrow"}


def test_what_is_done_is_written_though_the_device_runs_out_of_memory(gallery, model, tmp_path, capsys, monkeypatch):
    def some(items, *_, **__):
        yield PredictionRow(items[0].name, "0", [])
        raise UserError("The device ran out of memory: choose a smaller model or image size.")

    monkeypatch.setattr("vitdemo.classify.gallery.classify_gallery", some)
    assert main(["classify", str(gallery), *model, "--output", str(tmp_path / "out.json")]) == 1
    assert [row["path"] for row in json.loads((tmp_path / "out.json").read_text("utf-8"))] == [str(gallery / "a.png")]
    assert "choose a smaller model or image size. This was after 1 of 3 photos." in capsys.readouterr().err


def test_a_bad_file_does_not_run_into_the_progress(gallery, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["classify", str(gallery), *model, "--output", str(tmp_path / "out.json")]) == 0
    assert "left \r\x1b[Kvitdemo: “b.jpg” is not a photo" in capsys.readouterr().err
