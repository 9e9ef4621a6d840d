"""Visitors' folders: who finds them, how much goes in, when they go."""

import os
import time

import pytest

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs import workspace
from vitdemo.core.jobs.workspace import NOT_HERE, Workspaces, inside, size_of


@pytest.fixture
def spaces(tmp_path) -> Workspaces:
    return Workspaces(tmp_path / "spaces", Settings(workspace_mb=16, upload_minutes=5))


def test_a_folder_is_found_by_its_id_alone(spaces, tmp_path):
    one, two = spaces.create(), spaces.create()
    assert one != two
    assert len(one.name) == 32
    assert spaces.get(one.name) == one
    (tmp_path / ("x" * 32)).mkdir()
    (spaces.root / ("y" * 32)).symlink_to(tmp_path)
    for id in (None, 3, "", ".", "..", "x" * 32, "../" + "x" * 32, f"{one.name}/", "y" * 32, one.name[:-1], "ä" * 32, "a\0" * 16):
        with pytest.raises(UserError) as refusal:
            spaces.get(id)
        assert str(refusal.value) == NOT_HERE


def test_a_folder_is_no_other_user_s(spaces):
    assert spaces.create().stat().st_mode & 0o077 == 0


def test_what_nobody_asks_for_goes(spaces):
    old, used = spaces.create(), spaces.create()
    for each in (old, used):
        os.utime(each, (time.time() - 301,) * 2)
    spaces.get(used.name)
    spaces.sweep()
    assert (old.exists(), used.exists()) == (False, True)


def test_the_limit_counts_everything(spaces):
    folder = spaces.create()
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_bytes(bytes(10 << 20))
    assert size_of(folder) == 10 << 20
    spaces.check_room(folder, 6 << 20)
    with pytest.raises(UserError, match="more than 16 MB"):
        spaces.check_room(folder, (6 << 20) + 1)


def test_names_stay_inside(spaces, tmp_path):
    folder = spaces.create()
    (folder / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    (folder / "link").symlink_to(tmp_path / "b.txt")
    assert inside(folder, "a.txt").read_text() == "a"
    for name in ("../../b.txt", str(tmp_path / "b.txt"), "link", "none", "", "a\0"):
        with pytest.raises(UserError):
            inside(folder, name)


def test_a_file_that_is_renamed_while_it_is_counted_is_no_fault(tmp_path, monkeypatch):
    """It ended a fine-tuning under load, as if that could not be begun."""
    (tmp_path / "kept").write_bytes(bytes(10))
    monkeypatch.setattr(workspace.os, "walk", lambda folder: [(str(folder), [], ["gone.partial", "kept"])])
    assert workspace.size_of(tmp_path) == 10
