"""Files for the page: written where there is room, and young as long as they are wanted."""

import os
from pathlib import Path

import pytest

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui.server import served_files


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


def test_a_file_lies_in_its_folder(folder):
    path = served_files.write(folder / "gallery", "deep/a.bin", b"data", Settings())
    assert path == str(folder / "gallery" / "deep" / "a.bin")
    assert Path(path).read_bytes() == b"data"


def test_there_must_be_room(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(served_files, "scratch_of", lambda settings: asked.append(settings) or Room())
    with pytest.raises(UserError, match="no room for 4"):
        served_files.write(folder, "a.bin", b"data", Settings())
    assert list(folder.iterdir()) == []
    assert len(asked) == 1


class Room:
    def check(self, size: int) -> None:
        raise UserError(f"no room for {size}")


def test_a_disk_that_can_not_be_written_leaves_nothing(folder, monkeypatch):
    def fail(self, data: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(UserError, match=r"can't be kept on the server's disk \(No space left on device\): try again"):
        served_files.write(folder, "a.bin", b"data", Settings())
    assert list(folder.iterdir()) == []


def test_what_is_wanted_stays_young(folder, tmp_path):
    inside, outside = folder / "a", tmp_path / "b"
    for path in (inside, outside):
        path.touch()
        os.utime(path, (1.0, 1.0))
    served_files.touch([inside, inside, outside, folder / "gone"])
    assert inside.stat().st_mtime > 1e9
    assert outside.stat().st_mtime == 1


def test_the_folders_limit_is_kept_with_its_settings(folder):
    settings = Settings(temp_mb=100)
    assert served_files.scratch_of(settings) is served_files.scratch_of(Settings(temp_mb=100))
    assert served_files.scratch_of(settings) is not served_files.scratch_of(Settings(temp_mb=200))
