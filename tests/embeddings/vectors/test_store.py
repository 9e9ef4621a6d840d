"""Records on disk: whole or none, one model's apart from another's, and never more than there is room for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.apps import ROOT
from vitdemo.embeddings.vectors.store import Record, VectorStore

SHAPE = (4, 2, 48)
FILE = 4 + 4 * 4 * 2 * 48 + 8 * 5  # bytes


def record(seed: int) -> Record:
    random = np.random.default_rng(seed)
    probabilities = random.random(5, np.float32)
    return Record(random.normal(size=SHAPE).astype(np.float32), random.integers(0, 1000, 5, np.int32), probabilities)


def store(folder: Path, key: str = "key", megabytes: int = 10) -> VectorStore:
    return VectorStore(folder, key, SHAPE, 5, megabytes)


def same(one: Record, other: Record) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("vectors", "classes", "probabilities"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_got_by_another(tmp_path):
    store(tmp_path).put("a" * 64, record(1))
    found = store(tmp_path).get("a" * 64)
    assert same(found, record(1))
    assert (found.vectors.dtype, found.classes.dtype) == (np.float32, np.int32)
    assert store(tmp_path).get("b" * 64) is None
    assert store(tmp_path, "other").get("a" * 64) is None
    assert [path.stat().st_size for path in files(tmp_path)] == [FILE]


def test_a_feature_backbone_has_no_predictions(tmp_path):
    featureless = VectorStore(tmp_path, "key", SHAPE, 0, 10)
    featureless.put("a", Record(record(1).vectors, np.zeros(0, np.int32), np.zeros(0, np.float32)))
    assert featureless.get("a").classes.shape == featureless.get("a").probabilities.shape == (0,)


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * FILE, None, "longer"])
def test_a_damaged_record_is_none_and_goes(tmp_path, damage):
    kept = store(tmp_path)
    kept.put("a", record(1))
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    if damage is None:
        data[1000] ^= 1
    file.write_bytes(data if damage is None else data + b"more" if damage == "longer" else damage)
    assert kept.get("a") is None
    assert files(tmp_path) == []
    kept.put("a", record(2))
    assert same(kept.get("a"), record(2))


def test_the_longest_unused_go_when_there_is_no_room(tmp_path):
    kept = VectorStore(tmp_path, "key", (13, 2, 960), 5, 1)  # 100 KB each, in 1 MB
    big = Record(np.ones((13, 2, 960), np.float32), *[record(1).classes, record(1).probabilities])
    for number in range(9):
        kept.put(str(number), big)
        os.utime(next(tmp_path.rglob(f"{number}.vectors")), (number, number))
    assert kept.get("0") is not None  # and so it is the latest used
    for number in range(9, 12):
        kept.put(str(number), big)
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 1_000_000
    assert kept.get("0") is not None
    assert kept.get("1") is None


def test_other_models_records_count_and_go_as_well(tmp_path):
    old = store(tmp_path, "old")
    for number in range(700):
        old.put(str(number), record(1))
    for path in files(tmp_path):
        os.utime(path, (0, 0))
    new = store(tmp_path, "new", megabytes=1)
    new.put("a", record(1))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 900_000
    assert new.get("a") is not None


def test_none_are_kept_where_there_is_no_room(tmp_path):
    off = store(tmp_path / "new", megabytes=0)
    off.put("a", record(1))
    assert off.get("a") is None
    assert not (tmp_path / "new").exists()


def test_a_place_that_cant_be_written_is_no_error(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    blocked = store(tmp_path / "file" / "vectors")
    for _ in range(3):
        blocked.put("a", record(1))
    assert blocked.get("a") is None
    assert [each.levelname for each in caplog.records] == ["WARNING"]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from vitdemo.embeddings.vectors.store import Record, VectorStore
kept = VectorStore(Path(sys.argv[1]), "key", (4, 2, 48), 5, 10)
for turn in range(2000):
    number = turn % 5
    found = kept.get(str(number))
    assert found is None or (found.vectors == number).all()
    kept.put(str(number), Record(np.full((4, 2, 48), number), np.arange(5), np.ones(5)))
"""


def test_two_processes_at_once_see_whole_records(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT) for _ in range(2)]
    assert [each.wait(120) for each in writers] == [0, 0]
    assert [path.name for path in files(tmp_path)] == [f"{number}.vectors" for number in range(5)]
    assert all((store(tmp_path).get(str(number)).vectors == number).all() for number in range(5))
