"""The folder for visitors' files: private, within its limit, swept, and gone with the app however that ends."""

import os
import subprocess
import sys
import time

import pytest

from tests.support.apps import ROOT
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs import scratch
from vitdemo.core.jobs.scratch import LOCK_FILE, NO_ROOM, Scratch, scratch_folder


def test_it_is_private_and_goes_at_the_end(tmp_path):
    with scratch_folder(Settings(temp_dir=tmp_path / "new")) as folder:
        assert folder.parent == tmp_path / "new"
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_app_left_goes_at_the_next_start_and_a_living_one_keeps_its_own(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from vitdemo.core.config import Settings\n"
        "from vitdemo.core.jobs.scratch import scratch_folder\n"
        "with scratch_folder(Settings(temp_dir=Path(sys.argv[1]))) as folder:\n"
        "    (folder / 'photo').write_text('x'); print(folder, flush=True); time.sleep(600)"
    )
    apps = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, living = (tmp_path / app.stdout.readline().strip() for app in apps)
    apps[0].kill()
    apps[0].wait()
    (tmp_path / "vitdemo-app-link").symlink_to(living)
    (tmp_path / "mine").mkdir()
    assert killed.is_dir()
    with scratch_folder(Settings(temp_dir=tmp_path)) as own:
        assert {each.name for each in tmp_path.iterdir()} == {living.name, own.name, "vitdemo-app-link", "mine"}
        assert (living / "photo").is_file()
    apps[1].kill()
    apps[1].wait()


def test_a_folder_without_a_lock_is_left_alone_while_it_may_be_new(tmp_path):
    (new := tmp_path / "vitdemo-app-new").mkdir()
    (old := tmp_path / "vitdemo-app-old").mkdir()
    os.utime(old, (time.time() - 100,) * 2)
    with scratch_folder(Settings(temp_dir=tmp_path)):
        assert (new.is_dir(), old.is_dir()) == (True, False)


def test_the_limit_counts_everything_and_says_so_in_a_sentence(tmp_path):
    own = Scratch(tmp_path, Settings(temp_mb=64))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(os.urandom(10 << 20))
    assert 10 << 20 <= own.taken() <= 11 << 20
    own.check(53 << 20)
    with pytest.raises(UserError) as refusal:
        own.check(54 << 20)
    assert str(refusal.value) == NO_ROOM


def test_empty_files_count_as_well(tmp_path):
    for number in range(100):
        (tmp_path / str(number)).touch()
    assert Scratch(tmp_path, Settings()).taken() >= 400_000


def test_a_disk_that_is_nearly_full_takes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: scratch.shutil._ntuple_diskusage(1 << 40, 1 << 40, 65 << 20))
    own = Scratch(tmp_path, Settings())
    own.check(1 << 20)
    with pytest.raises(UserError, match="no room for more files"):
        own.check(2 << 20)
    with pytest.raises(UserError, match="no room for more files"):
        Scratch(tmp_path / "gone", Settings()).check(1 << 40)


def test_what_nobody_has_touched_goes(tmp_path):
    def put(name: str, age: float):
        (path := tmp_path / name).parent.mkdir(exist_ok=True)
        path.write_text("x")
        for each in (path, path.parent)[: 1 if path.parent == tmp_path else 2]:
            os.utime(each, (time.time() - age,) * 2)

    for name, age in (("old", 301), ("new", 299), ("folder/old", 301), ("used/old", 301), (LOCK_FILE, 1000)):
        put(name, age)
    (tmp_path / "used" / "new").write_text("y")
    (tmp_path / "link").symlink_to("/")
    os.utime(tmp_path / "link", (0, 0), follow_symlinks=False)
    Scratch(tmp_path, Settings(upload_minutes=5)).sweep()
    assert sorted(each.name for each in tmp_path.iterdir()) == [LOCK_FILE, "new", "used"]


def test_the_longest_untouched_goes_where_room_runs_short(tmp_path):
    for number, age in enumerate((3000, 2000, 1000, 500)):
        (tmp_path / str(number)).mkdir()
        (path := tmp_path / str(number) / "photo").write_bytes(os.urandom(15 << 20))
        for each in (path, path.parent):
            os.utime(each, (time.time() - age,) * 2)
    own = Scratch(tmp_path, Settings(temp_mb=64))
    own.check(10 << 20)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1", "2", "3"]
    with pytest.raises(UserError, match="no room for more files"):
        own.check(60 << 20)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1", "2", "3"]  # nothing goes where it would not help
    own.check(30 << 20)
    assert [each.name for each in tmp_path.iterdir()] == ["3"]  # it has not had its ten minutes


def test_what_was_touched_after_the_look_stays(tmp_path):
    for number in range(2):
        (path := tmp_path / str(number)).write_bytes(os.urandom(25 << 20))
        os.utime(path, (time.time() - 1000 + number,) * 2)
    own = Scratch(tmp_path, Settings(temp_mb=64))
    own.check()
    os.utime(tmp_path / "0")
    own.check(20 << 20)
    assert [each.name for each in tmp_path.iterdir()] == ["0"]


def test_what_was_let_in_and_never_came_takes_nothing_from_others(tmp_path):
    (tmp_path / "old").write_bytes(os.urandom(30 << 20))
    os.utime(tmp_path / "old", (time.time() - 1000,) * 2)
    own = Scratch(tmp_path, Settings(temp_mb=64))
    for _ in range(5):
        own.check(30 << 20)
    assert (tmp_path / "old").is_file()


def test_each_visitor_s_folder_in_a_shared_one_goes_by_itself(tmp_path):
    for number, age in enumerate((8000, 1000, 900, 10)):
        (folder := tmp_path / "lessons" / str(number)).mkdir(parents=True)
        (folder / "photo").write_bytes(os.urandom(15 << 20))
        for each in (folder / "photo", folder):
            os.utime(each, (time.time() - age,) * 2)
    os.utime(tmp_path / "lessons" / "1")  # asked for: its own time counts
    os.utime(tmp_path / "lessons", (0, 0))
    own = Scratch(tmp_path, Settings(temp_mb=64), ("lessons",))
    own.sweep()
    assert sorted(each.name for each in (tmp_path / "lessons").iterdir()) == ["1", "2", "3"]
    own.check(30 << 20)
    assert sorted(each.name for each in (tmp_path / "lessons").iterdir()) == ["1", "3"]


def test_what_was_promised_counts_until_it_is_there_however_often_one_looks(tmp_path):
    own = Scratch(tmp_path, Settings(temp_mb=64))
    with own.promised(40 << 20):
        own.sweep()
        with pytest.raises(UserError, match="no room for more files"):
            own.check(30 << 20)
    own.sweep()
    own.check(30 << 20)


def test_however_long_a_look_takes_the_next_one_comes_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "LOOK_INTERVAL_FACTOR", 1_000_000)
    monkeypatch.setattr(scratch, "MIN_LOOK_SECONDS", 0)
    monkeypatch.setattr(scratch, "MAX_LOOK_SECONDS", 0.1)
    own = Scratch(tmp_path, Settings())
    assert own.taken() == 0
    (tmp_path / "new").write_bytes(bytes(1 << 20))
    until(lambda: own.taken() > 1 << 20)
