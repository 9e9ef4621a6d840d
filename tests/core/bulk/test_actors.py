"""What Ray's actors do, without Ray: a stand-in runs every stage here, one part after the other. test_ray_data.py has the real one."""

import importlib
import os
import pickle
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.pictures import noise
from tests.support.small_vits import in_precision
from vitdemo.classify.gallery import classify_gallery
from vitdemo.classify.ray import Classifying
from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.core.bulk.stages import ActorPool, Pipeline
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.search import find_items

NAME = "vitdemo.core.bulk.ray_data"


class Dataset:
    """Parts, and the stages that they have to go through."""

    def __init__(self, log: list, parts: list, stages: tuple = ()):
        self._log, self._parts, self._stages = log, parts, stages

    def map_batches(self, actor: type, **options) -> "Dataset":
        arguments = options.pop("fn_constructor_kwargs")
        self._log.append((actor.__name__, options))
        return Dataset(self._log, self._parts, (*self._stages, actor(**arguments)))

    def iter_batches(self, **_):
        for part in self._parts:
            for stage in self._stages:
                part = stage(part)
            yield part


@pytest.fixture
def bulk(monkeypatch):
    """The module. Its `log` has each stage that was asked for, `sizes` the parts' numbers of rows, `threads` what torch was told."""
    log, sizes, threads = [], [], []

    def from_arrow(parts: list) -> Dataset:
        sizes.extend(len(part) for part in parts)
        return Dataset(log, parts)

    context = SimpleNamespace(enable_progress_bars=True, print_on_execution_start=True)
    ray, data = types.ModuleType("ray"), types.ModuleType("ray.data")
    ray.data, ray.put, ray.get = data, lambda value: ("reference", value), lambda reference: reference[1]
    ray.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
    ray.exceptions = SimpleNamespace(RayError=type("RayError", (Exception,), {}))
    ray.ObjectRef = object
    data.DataContext = SimpleNamespace(get_current=lambda: context)
    data.from_arrow, data.Dataset = from_arrow, Dataset
    data.ActorPoolStrategy = lambda size: f"{size} actors"
    for name, module in {"ray": ray, "ray.data": data}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    module = importlib.import_module(NAME)
    monkeypatch.setattr(module, "give_back_freed_memory", lambda: None)
    monkeypatch.setattr(module.torch, "set_num_threads", threads.append)
    module.log, module.sizes, module.threads = log, sizes, threads
    yield module
    sys.modules.pop(NAME, None)


@pytest.fixture
def photos(tmp_path) -> list[Item]:
    """Five photos, a copy, a bad file, and two in a zip."""
    folder = tmp_path / "photos"
    (folder / "cats").mkdir(parents=True)
    for number in range(5):
        noise(30, 20, number).save(folder / "cats" / f"{number}.png")
    (folder / "cats" / "4 again.png").write_bytes((folder / "cats" / "4.png").read_bytes())
    (folder / "bad.png").write_bytes(b"no photo")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        for number in (1, 2):
            archive.write(folder / "cats" / f"{number}.png", f"dogs/{number}.png")
    return find_items([folder])


@pytest.mark.parametrize(("decoders", "precision"), [(0, "fp32"), (2, "fp32"), (0, "bf16")])
def test_every_file_has_the_row_that_the_local_engine_gives(
    bulk, photos, vit, engine, settings, tmp_path, monkeypatch, decoders, precision
):
    vit = pickle.loads(pickle.dumps(in_precision(vit, precision)))  # as it gets to another machine
    monkeypatch.setattr(bulk, "MIN_PART_PHOTOS", 2)
    settings = replace(settings, device="cpu", batch_size=2)
    parts = ParquetDataset(str(tmp_path / "out"))
    parts.begin({})
    stages = Pipeline(ActorPool(decoders, 1.0), ActorPool(1, 2.0))
    steps = list(bulk.run(Classifying(3), photos, vit, settings, parts, stages))
    assert bulk.sizes == [2, 2, 2, 2, 1]
    assert [step.photos for step in steps] == bulk.sizes
    (error,) = (error for step in steps for error in step.errors)
    assert "“bad.png” is not a photo" in error
    assert {step.actor for step in steps} == {f"10.0.0.1 {os.getpid()}"}
    assert all(step.seconds > 0 and step.memory_mb > 10 for step in steps)
    rows = {row["path"]: row for table in parts.tables() for row in table.to_pylist()}
    local = list(classify_gallery(photos, vit, engine, settings, top=3))
    assert list(rows) != []
    assert len(rows) == len(local) == 9
    for expected in local:
        row = rows[expected.path]
        assert row["error"] == expected.error
        assert row["sha256"] == expected.sha256
        if not expected.error:
            assert row["model"] == vit.id
            assert row["labels"] == [each.label.name for each in expected.predictions]
            assert row["probabilities"] == pytest.approx([each.probability for each in expected.predictions], abs=1e-5)
    assert [name for name, _ in bulk.log] == (["_Decode", "_Model"] if decoders else ["_Model"])
    options = bulk.log[-1][1]
    assert (options["compute"], options["num_cpus"], options["num_gpus"], options["zero_copy_batch"]) == ("1 actors", 2.0, None, True)
    assert bulk.threads[0] == 2
    assert len(parts.names()) == 5
    list(bulk.run(Classifying(3), photos, vit, settings, parts, stages))
    assert len(parts.names()) == 5  # a part that is done again replaces the first one


@pytest.mark.parametrize(("count", "actors", "sizes"), [(40, 1, [16, 16, 8]), (600, 1, [38] * 15 + [30]), (9000, 2, [256] * 35 + [40])])
def test_parts_are_neither_small_nor_large_nor_few(bulk, vit, tmp_path, monkeypatch, count, actors, sizes):
    monkeypatch.setattr(bulk, "_Model", lambda **_: None)
    monkeypatch.setattr(Dataset, "map_batches", lambda self, *_, **__: Dataset([], []))
    items = [Item(tmp_path / "a.png", f"{number}.png", "") for number in range(count)]
    stages = Pipeline(ActorPool(0), ActorPool(actors))
    assert list(bulk.run(None, items, vit, Settings(), ParquetDataset(str(tmp_path)), stages)) == []
    assert bulk.sizes == sizes


def test_an_actor_that_fails_is_said(bulk, photos, vit, tmp_path, monkeypatch):
    def fail(self, **_):
        raise bulk.ray.exceptions.RayError("Traceback\nvitdemo.core.errors.UserError: The disk is full.")

    monkeypatch.setattr(Dataset, "iter_batches", fail)
    stages = Pipeline(ActorPool(0), ActorPool(1))
    with pytest.raises(UserError, match=r"Ray has given up: The disk is full\. What is written stays"):
        list(bulk.run(Classifying(3), photos, vit, Settings(device="cpu"), ParquetDataset(str(tmp_path / "out")), stages))


def test_files_find_their_way_to_an_actor_and_back(bulk, photos, tmp_path):
    odd = Item(tmp_path / "photos" / os.fsdecode(b"\xff.png"), os.fsdecode(b"\xff.png"), "ä")
    url = Item(Path("https://example.org/a.png"), "a.png", "", url="https://example.org/a.png")
    for item, row in zip([*photos, odd, url], bulk._rows_of([*photos, odd, url]), strict=True):
        again = bulk._item_of(row)
        assert (again.name, again.folder, again.url) == (item.name, item.folder, item.url)
        assert (again.archive is None) == (item.archive is None)
        if item.archive is not None:
            assert again.read(Settings()) == item.read(Settings())
    zipped = next(row for row in bulk._rows_of(photos) if row["member"] >= 0)
    gone = bulk._item_of(zipped | {"path": b"/nowhere.zip"})
    assert (gone.archive, gone.name) == (None, os.fsdecode(zipped["name"]))
    assert bulk._item_of(zipped | {"member": 99}).archive is None


def test_what_is_read_over_the_network_has_more_readers(bulk, vit, monkeypatch):
    asked = []
    monkeypatch.setattr(
        bulk, "photos_ahead", lambda items, make, settings, *, ahead, workers, draft: asked.append((ahead, workers, draft)) or iter(())
    )
    decode = bulk._Decode(vit.preprocessing, Settings(), 2.4)
    row = {"path": b"a", "name": b"a", "folder": b"", "url": "", "member": -1}
    for url in ("", "https://example.org/a.png"):
        with pytest.raises(ValueError, match="zip"):  # nothing comes back
            decode(bulk.pa.Table.from_pylist([row | {"url": url}], bulk._PLACES))
    assert asked == [(12, 3, 0), (64, 16, 0)]


def test_free_resources_are_waited_for(bulk, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(bulk, "time", clock)
    bulk.ray.cluster_resources = lambda: {"CPU": 4.0, "GPU": 1.0}
    bulk.ray.available_resources = lambda: {"CPU": 4.0, "GPU": 1.0} if clock.now > 1 else {"CPU": 2.0}
    assert bulk.free_resources() == (4.0, 1.0)
    assert clock.now == pytest.approx(1.1, abs=0.11)
    bulk.ray.available_resources = lambda: {"CPU": 3.0}
    begin = clock.now
    assert bulk.free_resources() == (3.0, 0)
    assert clock.now - begin == pytest.approx(bulk.RELEASE_SECONDS, abs=0.21)
