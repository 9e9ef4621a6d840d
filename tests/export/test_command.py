"""`python -m vitdemo export`, as a person calls it."""

import json

import pytest

from tests.support.pictures import noise
from vitdemo.cli import main
from vitdemo.core.figures import percent


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    for number in range(8):
        noise(80, 60, number).save(folder / f"{number}.png")
    return folder.parent


def test_a_bundle_with_its_figures(bundle, photos, tmp_path, capsys):
    output = tmp_path / "new" / "b"
    flags = ["--model", f"local-dir:{bundle}", "--format", "pt2", "--precision", "fp16", "--bake-preprocessing", "--with", "features"]
    assert main(["export", *flags, "--photos", str(photos), "--output", str(output)]) == 0
    printed = capsys.readouterr()
    report = json.loads((output / "report.json").read_text("utf-8"))
    assert report["plan"] == {
        "format": "pt2", "precision": "fp16", "baked": True, "extras": ["features"], "kits": [], "prefer": "fastest",
    }  # fmt: skip
    mine = report["rows"][0]["agreement"]
    assert f"the same first class on {percent(mine['agreement'])} of 8 photos" in printed.out
    assert "batch 8: torch " in printed.out
    assert "features: differs by" in printed.out
    for phase in ("Asking the original", "Writing model.pt2", "Comparing", "Timing", f"the bundle is in {output}"):
        assert phase in printed.err


@pytest.mark.slow
def test_int8_prints_its_table(bundle, photos, tmp_path, capsys):
    flags = ["--model", f"local-dir:{bundle}", "--format", "onnx", "--precision", "int8", "--prefer", "smallest"]
    assert main(["export", *flags, "--photos", str(photos), "--output", str(tmp_path / "b")]) == 0
    table = capsys.readouterr().out.splitlines()
    report = json.loads((tmp_path / "b" / "report.json").read_text("utf-8"))
    assert [line[2:38].strip() for line in table[1 : 1 + len(report["rows"])]] == [row["name"] for row in report["rows"]]
    assert sum(line.startswith("→") for line in table) == 1
    smallest = min((row for row in report["rows"][1:] if row["agreement"]["agreement"] >= 0.95), key=lambda row: row["bytes"], default=None)
    shipped = next(row for row in report["rows"] if row["shipped"])
    assert smallest is None or shipped["bytes"] <= 1.15 * smallest["bytes"]


@pytest.mark.parametrize(
    ("flags", "status", "sentence"),
    [
        (["--format", "caffe"], 2, "There is no format “caffe”"),
        (["--format", "pt2", "--precision", "int8"], 2, "int8 is made for ONNX, not for pt2"),
        (["--format", "onnx", "--serve", "torchserve"], 2, "torchserve serves torchscript, not onnx"),
        (["--format", "onnx", "--calibrate", "EMPTY"], 1, "No photo was found in “empty”."),
        (["--format", "onnx", "--photos", "EMPTY"], 1, "No photo was found in “empty”."),
        (["--format", "onnx", "--output", "FULL"], 1, "is not empty, and nothing is overwritten"),
    ],
)
def test_what_can_not_be_done_is_said_before_the_model_loads(flags, status, sentence, tmp_path, capsys, monkeypatch):
    from vitdemo.core.models import loader

    monkeypatch.setattr(loader, "load", lambda *_: pytest.fail("the model was loaded"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    places = {"EMPTY": str(tmp_path / "empty"), "FULL": str(tmp_path / "full")}
    given = [places.get(each, each) for each in flags]
    if "--output" not in given:
        given += ["--output", str(tmp_path / "b")]
    assert main(["export", *given]) == status
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_stop_in_the_middle(bundle, photos, tmp_path, capsys, monkeypatch):
    from vitdemo.export import parity

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(parity, "time_in_turn", interrupted)
    command = ["export", "--model", f"local-dir:{bundle}", "--format", "safetensors", "--photos", str(photos), "--output"]
    assert main([*command, str(tmp_path / "b")]) == 130
    assert "stopped" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}
