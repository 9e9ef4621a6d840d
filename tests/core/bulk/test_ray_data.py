"""Bulk work on Ray: the same rows as on one machine, nothing twice, nothing lost. One cluster of two CPUs serves all of it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.support.apps import ROOT
from tests.support.pictures import noise
from vitdemo.cli import main
from vitdemo.core.bulk.ray_session import ray_session

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def cluster():
    with ray_session("this test", cpus=2):
        yield


@pytest.fixture(scope="module")
def model(bundle) -> list[str]:
    return ["--model", f"local-dir:{bundle}", "--device", "cpu"]


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """What a person gives: a folder with a zip, a corrupt file and a photo that comes twice in it, a pattern, a URL and a missing file."""
    folder = tmp_path_factory.mktemp("given")
    for number in range(12):
        place = folder / "photos" / ("dogs" if number < 6 else "cats")
        place.mkdir(parents=True, exist_ok=True)
        noise(40 + number, 30, number).save(place / f"{number} é.png")
    shutil.copy(folder / "photos" / "dogs" / "0 é.png", folder / "photos" / "dogs" / "again.png")
    (folder / "photos" / "cats" / "bad.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "photos" / "cats" / "bad.jpg", folder / "photos" / "cats" / "bad too.jpg")
    with zipfile.ZipFile(folder / "photos" / "more.zip", "w") as archive:
        for number in range(3):
            noise(30, 30, 100 + number).save(folder / "in.png")
            archive.write(folder / "in.png", f"birds/{number}.png")
    for name in ("globbed", "remote"):
        (folder / name).mkdir()
        for number in range(3):
            noise(35, 30, hash(name) % 1000 + number).save(folder / name / f"{number}.png")
    return [str(folder / "photos"), str(folder / "globbed" / "*.png"), (folder / "remote").as_uri(), str(folder / "missing.png")]


def rows(place: Path) -> dict[str, dict]:
    table = pa.dataset.dataset(place, format="parquet").to_table()
    found = {row["path"]: row for row in table.to_pylist()}
    assert len(found) == len(table)
    return found


def assert_same(ours: Path, theirs: Path, column: str) -> None:
    """The same rows to 1e-4, in the same schema; but Ray looks for no copies."""
    one, other = rows(ours), rows(theirs)
    assert one.keys() == other.keys()
    for path, row in one.items():
        numbers, wanted = row.pop(column), other[path].pop(column)
        assert row == other[path] | {key: None for key in ("duplicate_of", "label_conflict") if key in row}
        assert (numbers is None) == (wanted is None)
        np.testing.assert_allclose(numbers or [], wanted or [], atol=TOLERANCE)
    part = next(ours.glob("part-*.parquet"))
    assert pa.parquet.read_schema(part) == pa.parquet.read_schema(theirs)


def test_classify_gives_the_local_rows_and_nothing_twice(cluster, model, given, tmp_path, capsys):
    ours, theirs = tmp_path / "out", tmp_path / "out.parquet"
    command = ["classify", *given, *model, "--top", "3", "--engine", "ray", "--output", str(ours)]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert main(["classify", *given, *model, "--top", "3", "--output", str(theirs)]) == 0
    assert_same(ours, theirs, "probabilities")
    assert "25 rows in" in said
    assert "3 with an error" in said
    assert said.count("“bad.jpg” is not a photo") == 1
    assert said.count("“missing.png” is not there") == 1
    assert "MB half way" in said
    assert "photos a second after" in said

    capsys.readouterr()
    written = {path: path.stat().st_mtime_ns for path in ours.iterdir()}
    assert main(command) == 0
    assert f"All 25 photos are in {ours} already." in capsys.readouterr().err
    assert written == {path: path.stat().st_mtime_ns for path in ours.iterdir()}
    lost = next(ours.glob("part-*.parquet"))
    missing = len(pa.parquet.read_table(lost))
    lost.unlink()
    assert main([*command, "--stages", "decode.actors=1,model.actors=1"]) == 0
    said = capsys.readouterr().err
    assert f"{25 - missing} of 25 photos are there already" in said
    assert f"{missing} rows in" in said
    assert_same(ours, theirs, "probabilities")


def test_embed_gives_the_local_rows(cluster, model, given, tmp_path, cache_dir):
    ours, theirs = tmp_path / "answers.parquet", tmp_path / "out.parquet"
    asked = ["embed", *given, *model, "--layer", "2", "--pool", "mean", "--cache-dir", str(cache_dir)]
    assert main([*asked, "--engine", "ray", "--stages", "model.actors=1", "--output", str(ours)]) == 0
    assert main([*asked, "--output", str(theirs)]) == 0
    assert ours.is_dir()
    assert_same(ours, theirs, "embedding")


@pytest.mark.parametrize(("layer", "pool"), [("final", "cls"), (1, "cls"), (3, "patches")])
def test_what_an_actor_does(cluster, vit, model, given, tmp_path, cache_dir, layer, pool):
    """In this process, which costs no start-up."""
    from vitdemo.core.bulk import ray_data
    from vitdemo.core.bulk.parquet import ParquetDataset
    from vitdemo.core.bulk.stages import ActorPool
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.search import find_items
    from vitdemo.embeddings.ray import EmbeddingTask

    parts = ParquetDataset(str(tmp_path / "out"))
    parts.begin({})
    settings = Settings(device="cpu")
    decode = {"preprocessing": vit.preprocessing, "settings": settings}
    actor = ray_data._Model(EmbeddingTask(layer, pool), ray.put(vit), settings, parts.place, ActorPool(1), decode)
    (told,) = actor(pa.Table.from_pylist(ray_data._rows_of(find_items(given)), ray_data._PLACES)).to_pylist()
    assert (told["photos"], len(told["errors"])) == (25, 3)
    theirs = tmp_path / "out.parquet"
    asked = ["embed", *given, *model, "--layer", str(layer), "--pool", pool, "--cache-dir", str(cache_dir)]
    assert main([*asked, "--output", str(theirs)]) == 0
    assert_same(tmp_path / "out", theirs, "embedding")


def test_all_but_a_share_of_the_cpus_at_most(cluster, model, given, tmp_path, capsys):
    asked = ["classify", *given, *model, "--engine", "ray", "--output", str(tmp_path / "out"), "--stages"]
    assert main([*asked, "model.actors=2,model.cpus=1"]) == 1
    assert "--stages takes 2 CPUs, and the cluster has 2, one of which stays free: ask for fewer actors." in capsys.readouterr().err


def test_an_actor_that_can_not_begin(cluster, bundle, given, tmp_path, capsys):
    asked = [
        "classify",
        *given,
        "--model",
        f"local-dir:{bundle}",
        "--device",
        "cuda:7",
        "--engine",
        "ray",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "Ray has given up: torch sees 0 CUDA devices, so there is no cuda:7: choose --device cpu" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--engine", "spark"], "--engine is “spark”, but it must be local or ray."),
        (["--address", "auto"], "--address and --stages are Ray's: give --engine ray with them."),
        (["--engine", "ray"], "--engine ray writes a folder of Parquet parts: give --output DIR."),
        (["--engine", "ray", "--output", "a.json"], "--output can't end in .json, .csv or .npz."),
        (["--engine", "ray", "--output", "a", "--stages", "x"], "--stages has “x”: give such as model.actors=4"),
    ],
)
@pytest.mark.parametrize("command", ["classify", "embed"])
def test_wrong_usage(command, flags, sentence, capsys):
    assert main([command, "photos", *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_without_ray(model, given, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["classify", *given, *model, "--engine", "ray", "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "vitdemo: --engine ray needs Ray, which is not installed: pip install -r requirements-scale.txt\n"


def test_an_address_where_nobody_is(model, given, tmp_path):
    asked = ["classify", *given, *model, "--engine", "ray", "--address", "127.0.0.1:9", "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "vitdemo", *asked], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("vitdemo: There is no Ray cluster at 127.0.0.1:9 (")
    assert done.stderr.endswith("): check --address, or leave it out.\n")


def test_ray_is_imported_only_when_asked_for(model, given, tmp_path):
    script = (
        "import sys; from vitdemo.cli import main;"
        "main(['classify', *sys.argv[1:]]); assert not {'ray', 'faiss', 'accelerate'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script, given[1], *model], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_our_modules_do_not_stand_in_for_ray():
    import vitdemo.classify.ray
    import vitdemo.embeddings.ray  # noqa: F401

    assert "site-packages" in ray.__file__
    assert sys.modules["ray"] is ray
