"""`python -m vitdemo attention` on many photos: a line and files of each, and what is wrong usage."""

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.support.apps import ROOT
from tests.support.pictures import noise
from vitdemo.attention import files, gallery_command
from vitdemo.attention.photo import MapMaker
from vitdemo.cli import main
from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent


@pytest.fixture
def folder(tmp_path):
    """Photos in two folders, one of them twice, and a file that is no photo."""
    for number, name in enumerate(("cats/1.jpg", "cats/2.png", "dogs/1.jpg")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        noise(60, 40, number).save(tmp_path / "photos" / name)
    shutil.copy(tmp_path / "photos" / "cats" / "1.jpg", tmp_path / "photos" / "dogs" / "copy.jpg")
    (tmp_path / "photos" / "dogs" / "bad.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


@pytest.fixture
def ask(bundle):
    return lambda *arguments: main(["attention", *map(str, arguments), "--model", f"local-dir:{bundle}", "--device", "cpu"])


def relative(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_gets_what_each_photo_gets_alone(ask, vit, folder, tmp_path, capsys):
    png, npz = tmp_path / "new" / "png", tmp_path / "new" / "npz"
    flags = ("--method", "votes", "--off", "1:0")
    assert ask(folder, *flags, "--output", png, "--npz", npz) == 0
    printed = capsys.readouterr()
    names = ["cats/1", "cats/2", "dogs/1", "dogs/copy"]
    assert relative(png) == [f"{name}.png" for name in names]
    assert relative(npz) == [f"{name}.npz" for name in names]
    lines = dict(line.split(": ", 1) for line in printed.out.splitlines())
    paths = ["cats/1.jpg", "cats/2.png", "dogs/1.jpg", "dogs/bad.jpg", "dogs/copy.jpg"]
    assert list(lines) == [str(folder / path) for path in paths]
    assert lines[str(folder / "dogs" / "bad.jpg")].startswith("“bad.jpg” is not a photo")
    assert f"maps of 4 photos in {png} and {npz}, files with errors: 1" in printed.err
    for path in paths[:3]:
        assert ask(folder / path, *flags, "--output", tmp_path / "a.png", "--npz", tmp_path / "a.npz") == 0
        alone = capsys.readouterr().out
        name = path.rsplit(".", 1)[0]
        assert (png / f"{name}.png").read_bytes() == (tmp_path / "a.png").read_bytes()
        with np.load(tmp_path / "a.npz") as one, np.load(npz / f"{name}.npz") as two:
            assert one.files == two.files
            for array in one.files:
                np.testing.assert_array_equal(one[array], two[array])
            after = float(np.exp(two["logits"] - two["logits"].max())[two["target"]] / np.exp(two["logits"] - two["logits"].max()).sum())
            row, column = divmod(int(two["heat"].argmax()), 14)
            label = vit.labels[int(two["target"])].short
        hottest = f"highest in row {row}, column {column} of 14×14"
        assert re.fullmatch(
            rf"{label} [\d.]+ %, {percent(after)} without the heads, highest in row {row}, column {column} of 14×14",
            lines[str(folder / path)],
        )
        assert hottest in alone
        before = lines[str(folder / path)].split(", ")[0]
        assert f"\n  {before} → {percent(after)}\n" in alone
    with np.load(npz / "cats" / "1.npz") as one, np.load(npz / "dogs" / "copy.npz") as two:
        np.testing.assert_array_equal(one["heat"], two["heat"])


def test_a_class_for_all_and_lines_alone(ask, vit, folder, tmp_path, capsys):
    assert ask(folder, "--target", "7", "--lens") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(f": {vit.labels[7].short} " in line for line in lines) == 4
    assert sum(line.startswith("  after layer ") for line in lines) == 4 * 3
    assert ask(folder, "--target", "zebra", "--npz", tmp_path / "n") == 2
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "n").exists()


def test_a_photo_whose_class_is_the_rival(ask, folder, tmp_path, capsys):
    assert ask(folder / "cats", folder / "dogs" / "1.jpg", "--npz", tmp_path / "n") == 0
    tops = {path: int(np.load(tmp_path / "n" / path)["target"]) for path in relative(tmp_path / "n")}
    capsys.readouterr()
    photos = [folder / "cats" / "1.jpg", folder / "cats" / "2.png"]
    rival = tops["cats/1.npz"]
    other = next(index for index in range(8) if index != rival)
    assert ask(*photos, "--rival", rival) == (1 if tops["cats/2.npz"] == rival else 0)
    assert "cats/1.jpg: The class and its rival are the same, and would cancel out: choose two classes." in capsys.readouterr().out
    assert ask(*photos, "--rival", rival, "--target", other) == 0
    assert ask(*photos, "--rival", rival, "--target", rival) == 2


def test_names_in_a_zip_stay_in_the_folder(ask, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        for name in ("../../up.jpg", "/root.jpg", "d/a.jpg", "d/a.png"):
            file.write(folder / "cats" / "1.jpg", name)
    assert ask(tmp_path / "z.zip", "--method", "cls", "--npz", tmp_path / "o" / "n", "--output", tmp_path / "o" / "n") == 0
    names = ["d/a", "d/a-2", "root", "up"]
    assert relative(tmp_path / "o") == sorted(f"n/{name}{suffix}" for name in names for suffix in (".npz", ".png"))


def test_one_photo_into_a_folder(ask, folder, tmp_path):
    assert ask(folder / "cats" / "1.jpg", "--output", tmp_path / "maps") == 0
    assert Image.open(tmp_path / "maps" / "1.png").size == (60, 40)


@pytest.mark.parametrize(
    ("photos", "arguments", "said"),
    [
        ("cats", ["--output", "map.png"], "--output map.png is one file: for many photos, give a folder, such as --output map."),
        ("cats", ["--output", "a/map.png"], "--output a/map.png is one file: for many photos, give a folder, such as --output a/map."),
        ("cats", ["--npz", "n.NPZ"], "--npz n.NPZ is one file: for many photos, give a folder, such as --npz n."),
        ("cats", ["--output", "maps", "--npz", "n.npz"], "--npz n.npz is one file: for many photos, give a folder"),
        ("cats/1.jpg", ["--output", "maps", "--npz", "n.npz"], "--npz n.npz is one file: beside a folder, give a folder, such as --npz n."),
        ("cats", ["--off", "9"], "There is no layer 9"),
        ("cats", ["--layer", "9"], "There is no layer 9"),
        ("cats", ["--masks", "m"], "--masks is for --compare."),
    ],
)
def test_wrong_usage(ask, folder, tmp_path, monkeypatch, capsys, photos, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert ask(folder / photos, *arguments) == 2
    assert f"vitdemo: {said}" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_nothing_is_overwritten(ask, folder, tmp_path, capsys):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.txt").write_text("mine")
    assert ask(folder, "--output", tmp_path / "maps") == 1
    assert "is not empty, and nothing is overwritten: give a folder that is new or empty." in capsys.readouterr().err
    assert relative(tmp_path / "maps") == ["mine.txt"]


def test_nothing_that_can_be_read(ask, folder, tmp_path, capsys):
    assert ask(folder / "dogs" / "bad.jpg", folder / "gone.jpg", "--output", tmp_path / "maps") == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_model_that_can_not_ends_the_work(ask, folder, monkeypatch, capsys):
    def refuse(*_):
        raise UserError("It can't.")

    monkeypatch.setattr(MapMaker, "make", refuse)
    assert ask(folder) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("vitdemo: It can't.\n")


def test_a_disk_that_fills_up_keeps_what_is_done(ask, folder, tmp_path, monkeypatch, capsys):
    write = files.write_npz

    def fill(path, numbers):
        if path.name == "2.npz":
            raise UserError("Full.")
        write(path, numbers)

    monkeypatch.setattr(files, "write_npz", fill)
    assert ask(folder, "--npz", tmp_path / "n") == 1
    assert relative(tmp_path / "n") == ["cats/1.npz"]
    assert "vitdemo: Full. This was after 1 of 5 photos." in capsys.readouterr().err


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def stopped(file, **_):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write_npz(tmp_path / "a" / "b.npz", {})
    assert relative(tmp_path) == []


def test_ctrl_c_keeps_what_is_done(bundle, folder, tmp_path):
    for number in range(200):
        noise(30, 30, number).save(folder / "cats" / f"x{number}.jpg")
    command = [sys.executable, "-m", "vitdemo", "attention", str(folder), "--npz", str(tmp_path / "n"), "--model", f"local-dir:{bundle}"]
    work = subprocess.Popen([*command, "--device", "cpu"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert work.stdout is not None
    lines = [work.stdout.readline() for _ in range(3)]
    os.kill(work.pid, signal.SIGINT)
    rest, said = work.communicate(timeout=60)
    assert work.returncode == 130
    count = len(lines) + len(rest.splitlines())
    assert f"vitdemo: stopped after {count} of 205 photos." in said or f"vitdemo: stopped after {count - 1} of 205 photos." in said
    written = relative(tmp_path / "n")
    assert count <= len(written) <= count + 1 < 205
    for name in written:
        assert np.load(tmp_path / "n" / name)["heat"].shape == (14, 14)


def test_no_map_is_kept(ask, folder, monkeypatch):
    made, line = [], gallery_command._line

    def watch(row):
        made.extend([weakref.ref(row.made)] if row.made else [])
        gc.collect()
        assert sum(each() is not None for each in made) <= 2  # this one, and the one before
        return line(row)

    monkeypatch.setattr(gallery_command, "_line", watch)
    assert ask(folder) == 0
    assert len(made) == 4
