"""Places for results: made where they can be, refused before the work where they can't."""

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import as_cell, check_writable, unwritable


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
