"""`python -m vitdemo finetune`: its result, its words, its exit status, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.support.apps import ROOT
from tests.support.pictures import noise, paint
from tests.support.profiles import ADOBE_RGB, SRGB, of_screen
from vitdemo.cli import main
from vitdemo.core.config import ASSETS
from vitdemo.core.training import checkpoint

LEARN = ["--unfreeze", "1", "--epochs", "6", "--batch-size", "4", "--patience", "0"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The machine's own VITDEMO_* settings stay out of the tests."""
    for name in ("MODEL", "CHECKPOINT", "DEVICE", "PRECISION", "BATCH_SIZE", "MAX_UPLOAD_MB", "MAX_MEGAPIXELS"):
        monkeypatch.delenv(f"VITDEMO_{name}", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("colours") / "all", 6, 0)


@pytest.fixture
def model(bundle) -> list[str]:
    return ["--model", f"local-dir:{bundle}", "--device", "cpu"]


def test_a_run_and_what_it_says(folder, model, tmp_path, capsys):
    asked = ["finetune", str(folder), *model, "--output", str(tmp_path / "new" / "out"), "--seed", "3"]
    assert main(asked) == 0
    said = capsys.readouterr().err
    assert f"\nThe model is in {tmp_path / 'new' / 'out'}: use it with --model local-dir:{tmp_path / 'new' / 'out'}\n" in said
    assert "18/18 photos" in said
    assert "3 classes: 18 for train" in said
    assert "head, epoch 1 of 1" in said
    assert "on 18 photos by cross-validation, each asked of a head that had not learned it" in said
    assert "5 nearest neighbours: " in said
    report = json.loads((tmp_path / "new" / "out" / "report.json").read_text())
    assert (report["recipe"]["seed"], report["recipe"]["unfreeze"], report["asked"]) == (3, "head", "cross-validation")
    assert main(["classify", str(folder / "red"), "--model", f"local-dir:{tmp_path / 'new' / 'out'}", "--device", "cpu", "--top", "3"]) == 0
    assert {"red", "green", "blue"} <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("unfreeze", ["head", "1"])
def test_what_is_learned_from_converted_colours_says_so(tmp_path, model, unfreeze):
    """The classes differ only by their profile: the numbers in the files are the same."""
    profiles = {"adobe": of_screen("Adobe", ADOBE_RGB, 2.2), "mixed": of_screen("Mixed", (SRGB[2], SRGB[0], SRGB[1]), 2.2)}
    for name, profile in profiles.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            noise(6, 4, number).resize((60, 40)).save(tmp_path / "photos" / name / f"{number}.png", icc_profile=profile)
    flags = [*model, "--epochs", "6", "--unfreeze", unfreeze, "--augment", "light" if unfreeze == "1" else "none", "--icc", "convert"]
    assert main(["finetune", str(tmp_path / "photos"), *flags, "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["icc"] == "convert"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["icc"] == "convert"
    learned = ["--model", f"local-dir:{tmp_path / 'out'}", "--device", "cpu"]
    answers = {}
    for icc in ("auto", "ignore"):
        assert main(["classify", str(tmp_path / "photos"), *learned, "--icc", icc, "--output", str(tmp_path / f"{icc}.json")]) == 0
        rows = json.loads((tmp_path / f"{icc}.json").read_text())
        answers[icc] = [{each["label"]: each["probability"] for each in row["predictions"]}["adobe"] for row in rows]
    assert answers["ignore"][:8] == pytest.approx(answers["ignore"][8:], abs=1e-5)  # the same pixels
    assert min(abs(one - other) for one, other in zip(answers["auto"][:8], answers["auto"][8:], strict=True)) > 1e-3


def test_classes_renamed_merged_and_left_out(folder, model, tmp_path):
    changes = ["--rename", "red=warm", "--rename", "green=cold", "--rename", "blue=cold"]
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "a"), "--epochs", "1", *changes]) == 0
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["classes"] == ["cold", "warm"]
    assert sum(report["counts"]["cold"].values()) == 12
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "b"), "--epochs", "1", "--rename", "blue="]) == 0
    assert json.loads((tmp_path / "b" / "report.json").read_text())["classes"] == ["green", "red"]


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--lr", "ten"], 2, "--lr is “ten”, but it must be a number from"),
        (["--unfreeze", "some"], 2, "--unfreeze is “some”, but it must be head, gradual, all or a number of blocks."),
        (["--unfreeze", "9"], 2, "This model has 3 blocks"),
        (["--preset", "slow"], 2, "--preset is “slow”, but it must be one of quick, careful, everything."),
        (["--rename", "red"], 2, "--rename is “red”, but it must be OLD=NEW"),
        (["--rename", "red=", "--rename", "blue="], 1, "There is one class only, “green”"),
    ],
)
def test_what_a_person_gets_wrong(flags, status, words, folder, model, tmp_path, capsys):
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "out"), *flags]) == status
    assert words in capsys.readouterr().err


def test_notes_are_told_once_and_before_what_is_wrong(model, tmp_path, capsys):
    given = paint(tmp_path / "given" / "train", 2, 0).parent
    paint(given / "test", 2, 1)
    (given / "notes.txt").write_text("Hello")
    asked = ["finetune", str(given), *model, "--epochs", "1", "--output", str(tmp_path / "out")]
    assert main([*asked, "--split", "test=all"]) == 0
    said = capsys.readouterr().err
    assert said.count("1 file that is no photo is left out (1 .txt).") == 1
    assert said.count("These folders are taken as splits: “test” as train and validation together, “train” as train.") == 1
    (given / "train" / "red" / "1.png").unlink()
    (given / "test" / "red").rename(given / "test" / "Red")
    assert main(asked) == 1
    hint = capsys.readouterr().err.split("“Red” has no usable photos besides those for test, and a class needs two")[0]
    assert "“Red”, “red” differ only in upper and lower case" in hint
    assert main([*asked, "--split", "train="]) == 1
    assert "“train” with 5 photos is left out, as asked." in capsys.readouterr().err.split("There is nothing to learn from")[0]


def test_folders_that_won_t_do(folder, model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for photos in (tmp_path / "empty", tmp_path / "nowhere"):
        assert main(["finetune", str(photos), *model, "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith(f"“{tmp_path / 'nowhere'}” is not there: check the name of the folder or zip.\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("a")
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "full")]) == 1
    assert "holds other files" in capsys.readouterr().err


def begin(folder, model, output, events) -> subprocess.Popen:
    command = [sys.executable, "-m", "vitdemo", "finetune", str(folder), *model, "--output", str(output), *LEARN]
    environ = os.environ | {"VITDEMO_EVENTS": str(events)}
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epoch(events, process, number: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        told = [json.loads(line) for line in events.read_text().splitlines(keepends=True) if line.endswith("\n")] if events.exists() else []
        if any(each["kind"] == "epoch" and (each["stage"], each["epoch"]) == ("blocks", number) for each in told):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)  # between two looks
    raise AssertionError(f"epoch {number} did not come")


@pytest.mark.app
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_is_learned_outlives_the_process(how, folder, model, tmp_path, capsys):
    """kill -9 in the middle loses the running epoch at most; so does Stop, which says so."""
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "whole"), *LEARN]) == 0
    process = begin(folder, model, tmp_path / "parts", tmp_path / "events")
    wait_for_epoch(tmp_path / "events", process, 2)
    if how == "killed":
        process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=120)[1]  # closes its standard input, as the app does to stop it
    if how == "stopped":
        assert process.returncode == 130
        assert "The same command goes on after the last epoch" in said
    capsys.readouterr()
    assert main(["finetune", str(folder), *model, "--output", str(tmp_path / "parts"), *LEARN]) == 0
    epoch = int(capsys.readouterr().err.split("Going on after epoch ")[1].split()[0])
    assert 1 <= epoch <= 6
    one, two = (load_file(tmp_path / name / "run" / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)


CONFIG = """\
distributed_type: MULTI_GPU
num_machines: 1
num_processes: 2
mixed_precision: 'no'
"""
LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vitdemo"],
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "vitdemo"],
    "accelerate with a file": ["-m", "accelerate.commands.launch", "--config_file", "accelerate.yaml", "-m", "vitdemo"],
    "ray": ["-m", "vitdemo"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_train_one_model_together(folder, model, tmp_path, launcher):
    """The mean gradient of two processes with six photos each is that of one with twelve."""
    flags = [
        "--unfreeze",
        "1",
        "--epochs",
        "1",
        "--patience",
        "0",
        "--drop-path",
        "0",
        "--balance",
        "0",
        "--augment",
        "none",
        "--validation",
        "0.34",
    ]
    asked = ["finetune", str(folder), *model, *flags]
    own = ["--engine", "ray", "--processes", "2"] if launcher == "ray" else []
    if launcher == "ray":
        pytest.importorskip("ray.train")
    if launcher.startswith("accelerate"):
        pytest.importorskip("accelerate")
    (tmp_path / "accelerate.yaml").write_text(CONFIG, "utf-8")
    assert main([*asked, "--output", str(tmp_path / "one"), "--batch-size", "12", "--accumulate", "1"]) == 0
    done = subprocess.run(
        [sys.executable, *LAUNCHERS[launcher], *asked, *own, "--output", str(tmp_path / "two"), "--batch-size", "6", "--accumulate", "1"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Accuracy ") == 1
    assert "2 processes learn together" in done.stderr + done.stdout
    one, two = (checkpoint.load(tmp_path / name / "run" / "last.safetensors")["optimizer"]["state"] for name in ("one", "two"))
    assert max(each["exp_avg"].abs().max() for each in one.values()) > 1e-4
    assert all(torch.allclose(one[key]["exp_avg"], two[key]["exp_avg"], atol=1e-6) for key in one)


def test_the_unseen_classes(tmp_path, capsys):
    """The demo model learns three things that it has never seen, from 36 pictures."""
    assert main(["finetune", str(ASSETS / "examples" / "unseen"), "--model", "demo", "--device", "cpu", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["classes"] == ["anchor", "guitar", "snowman"]
    assert report["accuracy"] >= 0.9
    assert report["baselines"]["majority class"]["accuracy"] < 0.5
