"""`python -m vitdemo attention … --compare`: the table, the sentences, the file, and what is wrong usage."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.attention.evaluation import compare as comparing
from vitdemo.cli import main


@pytest.fixture
def folder(tmp_path):
    """Three photos, one file that is no photo, and a mask for one photo."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        noise(40, 30, number).save(tmp_path / "photos" / f"{number}.jpg")
    (tmp_path / "photos" / "bad.png").write_bytes(b"no photo")
    Image.fromarray(np.pad(np.full((10, 10), 255, np.uint8), ((10, 10), (15, 15)))).save(tmp_path / "masks" / "1.png")
    return tmp_path


@pytest.fixture
def compare(bundle):
    return lambda *arguments: main(["attention", *map(str, arguments), "--compare", "--model", f"local-dir:{bundle}", "--device", "cpu"])


def test_many_photos(folder, compare, capsys):
    path = folder / "new" / "table.json"
    given = (folder / "photos", "--masks", folder / "masks", "--erase", 4, "--mosaics", 0, "--output", path)
    assert compare(*given) == 0
    table = json.loads(path.read_text("utf-8"))
    assert (table["photos"], table["erased"], table["mosaics"]) == (3, 3, 0)
    assert set(table["rows"]) == {*comparing.NAMED, "random", "centre"}
    assert {"hit", "auc", "iou", "mass", "deletion", "insertion", "saco"} == set(table["rows"]["votes"])
    assert len(table["left_out"]) == 1
    printed = capsys.readouterr()
    assert "bad.png” is not a photo" in printed.err
    assert "4 of 4" in printed.err
    assert printed.out.startswith("3 photos, 3 of them erased, 0 mosaics; ")
    assert f"relevance: {table['sentences']['relevance']}\n" in printed.out
    assert table["sentences"]["relevance"].startswith("The probability falls ")


def test_one_photo_for_a_class(folder, compare, capsys):
    assert compare(folder / "photos" / "1.jpg", "--target", "cat", "--rival", "boat", "--method", "cls", "--lens") == 0
    printed = capsys.readouterr()
    told = [f"vitdemo: --{flag} changes nothing for --compare." for flag in ("method", "rival", "lens")]
    assert [line for line in printed.err.splitlines() if "changes nothing" in line] == told
    assert "(area 0." in printed.out
    assert "5 random orders: 0." in printed.out


def test_a_grid_without_quarters_gets_no_mosaics(folder, compare, capsys, monkeypatch):
    monkeypatch.setattr("vitdemo.core.models.adapter.Adapter.grid", lambda *_: (7, 7))
    asked = {}

    def steps(*_, **options):
        asked.update(options)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(comparing, "compare_photos", steps)
    photos = [folder / "photos" / f"{number}.jpg" for number in (0, 1)]
    assert compare(*photos) == 130
    assert asked["mosaics"] == 0
    assert compare(*photos, "--mosaics", 3) == 130
    assert asked["mosaics"] == 3


def test_stopped_by_ctrl_c(folder, compare, capsys, monkeypatch):
    steps = comparing.compare_photos

    def stopped(*arguments, **options):
        for step in steps(*arguments, **options):
            yield step
            if step.done == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "compare_photos", stopped)
    assert compare("--mosaics", 0, folder / "photos" / "0.jpg", folder / "photos" / "1.jpg", folder / "photos" / "2.jpg") == 130
    assert capsys.readouterr().out.startswith("2 photos, 2 of them erased")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["photos", "--output", "a.png"], 2, "With --compare, --output must end in .json."),
        (["photos", "--erase", "-1"], 2, "--erase must be 0 or more."),
        (["photos", "--target", "cat"], 2, "--target is for one photo: of many, each photo's top class is taken."),
        (["photos/0.jpg", "--masks", "none"], 2, "There is no folder none with masks"),
        (["photos/0.jpg", "--masks", "masks"], 2, "masks has a mask for none of the photos"),
        (["photos/0.jpg", "--target", "zebra"], 2, "has no class “zebra”"),
        (["photos/bad.png"], 1, "is not a photo"),
    ],
)
def test_what_can_not_be(arguments, status, said, folder, compare, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert compare(*arguments) == status
    assert said in capsys.readouterr().err


def test_flags_of_a_comparison_alone(folder, capsys):
    assert main(["attention", str(folder / "photos" / "1.jpg"), "--mosaics", "4"]) == 2
    assert "--mosaics is for --compare." in capsys.readouterr().err
