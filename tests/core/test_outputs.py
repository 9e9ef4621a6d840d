"""Places for results: made where they can be, refused before the work where they can't."""

import os

import pytest

from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.outputs import (
    as_cell,
    as_utf8,
    check_new_folder,
    check_suffix,
    check_writable,
    read_json,
    unwritable,
    write_json,
)


def test_folders_on_the_way_are_made(tmp_path):
    check_writable(tmp_path / "a" / "b" / "c.png")
    assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b" / "c.png").exists()
    (tmp_path / "old.png").write_bytes(b"old")
    check_writable(tmp_path / "old.png")
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_places_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "file" / "a.png", "Not a directory|File exists")):
        with pytest.raises(UserError, match=rf"can't be written \({reason}\): choose another place\."):
            check_writable(path)


def test_a_new_or_empty_folder(tmp_path):
    check_new_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").is_dir()
    check_new_folder(tmp_path / "a")
    (tmp_path / "a" / "file").touch()
    with pytest.raises(UserError, match="a is not empty, and nothing is overwritten: give a folder that is new or empty"):
        check_new_folder(tmp_path / "a")
    with pytest.raises(UserError, match="file is a file: give a folder that is new or empty"):
        check_new_folder(tmp_path / "a" / "file")
    with pytest.raises(UserError, match="can't be written"):
        check_new_folder(tmp_path / "a" / "file" / "b")


@pytest.mark.parametrize(("suffixes", "listed"), [([".a"], ".a"), ([".a", ".b"], ".a or .b"), ([".a", ".b", ".c"], ".a, .b or .c")])
def test_a_suffix(tmp_path, suffixes, listed):
    check_suffix(tmp_path / "file.A", suffixes)
    for name in ("file", "file.d", "file.a.gz", ".a"):
        with pytest.raises(UsageError) as refused:
            check_suffix(tmp_path / name, suffixes, " for this")
        assert str(refused.value) == f"--output must end in {listed} for this."


def test_the_sentence(tmp_path):
    assert str(unwritable(tmp_path / "a.png", OSError(28, "No space left on device"))) == (
        f"{tmp_path / 'a.png'} can't be written (No space left on device): choose another place."
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(text):
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a=1", "", "cat.jpg", -0.5, 3, None])
def test_other_cells_stay_as_they_are(value):
    assert as_cell(value) is value


def test_a_place_without_the_right_to_write(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)) or False)
    (tmp_path / "old.png").touch()
    for name in ("old.png", "new.png"):
        with pytest.raises(UserError, match=r"can't be written \(Permission denied\): choose another place\."):
            check_writable(tmp_path / name)
    assert asked == [(tmp_path / "old.png", os.W_OK), (tmp_path, os.W_OK)]


def test_json_is_written_as_a_whole_and_read_again(tmp_path):
    what = {"ä": [1, None, "“x”"]}
    write_json(what, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == what
    assert "ä" in (tmp_path / "a.json").read_text("utf-8")
    with pytest.raises(TypeError):
        write_json({"x": object()}, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == what
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_json_that_can_not_be_read(content, tmp_path):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json can't be read: choose another output folder\."):
        read_json(tmp_path / "a.json")


def test_names_that_are_no_text():
    assert as_utf8("ä.png") == "ä.png"
    assert as_utf8(os.fsdecode(b"\xff.png")) == "\\xff.png"
