"""`python -m vitdemo embed`: its files, what it says, and its exit status."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import timm
import torch
from PIL import Image

from tests.support.apps import ROOT, TINY
from tests.support.pictures import noise
from vitdemo.cli import main
from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import draw
from vitdemo.embeddings.maps.mapper import Mapper
from vitdemo.embeddings.vectors import gallery as gallery_module


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The machine's own VITDEMO_* settings stay out of the tests."""
    for name in (
        "MODEL",
        "CHECKPOINT",
        "DEVICE",
        "PRECISION",
        "BATCH_SIZE",
        "MAX_UPLOAD_MB",
        "MAX_MEGAPIXELS",
        "VECTOR_CACHE_MB",
        "CACHE_DIR",
    ):
        monkeypatch.delenv(f"VITDEMO_{name}", raising=False)


@pytest.fixture
def model(bundle, cache_dir) -> list[str]:
    return ["--model", f"local-dir:{bundle}", "--device", "cpu", "--cache-dir", str(cache_dir)]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight photos in two folders, a bad file and a photo that comes twice."""
    for number in range(8):
        place = tmp_path / "photos" / ("dogs" if number < 4 else "cats")
        place.mkdir(parents=True, exist_ok=True)
        noise(40, 30, number).save(place / f"{number}.png")
    (tmp_path / "photos" / "cats" / "5b.jpg").write_bytes(b"no photo")
    (tmp_path / "photos" / "dogs" / "9.png").write_bytes((tmp_path / "photos" / "dogs" / "0.png").read_bytes())
    return tmp_path / "photos"


@pytest.mark.parametrize(("layer", "pool"), [("final", "cls"), ("2", "cls"), ("3", "mean"), ("final", "mean")])
def test_vectors_in_a_file(folder, model, vit, tmp_path, capsys, layer, pool):
    output = tmp_path / "new" / "out.npz"
    assert main(["embed", str(folder), *model, "--layer", layer, "--pool", pool, "--output", str(output)]) == 0
    with np.load(output) as file:
        paths, embeddings = file["paths"].tolist(), file["embeddings"]
        assert set(file.files) == {"paths", "embeddings", "model", "duplicate_of"}
        assert file["duplicate_of"].tolist() == [""] * 8 + [str(folder / "dogs" / "0.png")]
    assert paths == [str(folder / name) for name in ("cats/4.png", "cats/5.png", "cats/6.png", "cats/7.png")] + [
        str(folder / "dogs" / f"{number}.png") for number in (0, 1, 2, 3, 9)
    ]
    batch = torch.stack([vit.preprocessing(Image.open(path).convert("RGB")) for path in paths])
    with torch.inference_mode():
        if layer == "final":
            tokens = vit.module.forward_features(batch)
        else:
            patches, prefix = vit.module.get_intermediate_layers(batch, n=[int(layer) - 1], return_prefix_tokens=True)[0]
            tokens = torch.cat([prefix, patches], 1)
    np.testing.assert_allclose(embeddings, tokens[:, 0] if pool == "cls" else tokens[:, 1:].mean(1), atol=1e-4)
    said = capsys.readouterr()
    assert said.out == ""
    assert "“5b.jpg” is not a photo" in said.err
    assert f"vectors in {output}: 9, files with errors: 1" in said.err
    assert "labelled right by their 5 nearest" in said.err


@pytest.mark.parametrize("dimensions", ["2", "3"])
def test_a_map(folder, model, tmp_path, capsys, mapper, dimensions):
    mapper.wait()  # two processes that compile at the same time take twice as long
    maps = []
    for number in range(2):
        output = tmp_path / f"{number}.npz"
        assert main(["embed", str(folder), *model, "--map", dimensions, "--seed", "4", "--output", str(output)]) == 0
        with np.load(output) as file:
            assert file["map"].shape == (9, int(dimensions))
            assert file["cluster"].shape == (9,)
            assert file["label"].tolist() == ["cats"] * 4 + ["dogs"] * 5
            assert np.array_equal(file["map"][4], file["map"][8])  # the same photo
            near, paths = file["neighbours"], file["paths"].tolist()
            unit = file["embeddings"] / np.linalg.norm(file["embeddings"], axis=1, keepdims=True)
            apart = [[1 - unit[row] @ unit[paths.index(path)] for path in near[row]] for row in range(9)]
            np.testing.assert_allclose(file["neighbour_distances"], apart, atol=1e-6)
            assert near[4][0] == str(folder / "dogs" / "9.png")
            maps.append(file["map"])
    assert np.array_equal(*maps)
    assert f"map in {dimensions} dimensions, trustworthiness " in capsys.readouterr().err


def test_copies_count_in_clusters(model, tmp_path, monkeypatch, capsys):
    for number in range(4):
        noise(40, 30, number).save(tmp_path / f"{number}.png")
    for number in range(29):
        (tmp_path / f"0-{number}.png").write_bytes((tmp_path / "0.png").read_bytes())
    monkeypatch.setattr(Mapper, "map", lambda self, vectors, options: iter([draw(vectors, options)]))  # so few need no UMAP
    monkeypatch.setattr(Mapper, "warm", lambda self: None)
    assert main(["embed", str(tmp_path), *model, "--map", "2", "--output", str(tmp_path / "out.npz")]) == 0
    assert ": 1 clusters, 3 photos in none\n" in capsys.readouterr().err
    with np.load(tmp_path / "out.npz") as file:
        assert file["cluster"].tolist() == [0] * 30 + [-1] * 3


def test_patches(folder, model, vit, tmp_path):
    output = tmp_path / "out.npz"
    assert main(["embed", str(folder), *model, "--layer", "2", "--pool", "patches", "--output", str(output)]) == 0
    with np.load(output) as file:
        paths, embeddings = file["paths"].tolist(), file["embeddings"]
    assert embeddings.shape == (9, 196, 48)
    batch = torch.stack([vit.preprocessing(Image.open(path).convert("RGB")) for path in paths])
    with torch.inference_mode():
        np.testing.assert_allclose(embeddings, vit.module.get_intermediate_layers(batch, n=[1])[0], atol=1e-4)
    assert np.array_equal(embeddings[4], embeddings[8])


def test_parquet_holds_the_errors_as_well(folder, model, tmp_path):
    output = tmp_path / "out.parquet"
    assert main(["embed", str(folder), *model, "--output", str(output)]) == 0
    table = pyarrow.parquet.read_table(output).to_pylist()
    assert len(table) == 10
    assert [Path(each["path"]).name for each in table if each["error"]] == ["5b.jpg"]


def test_nothing_that_can_be_read(tmp_path, model, capsys):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    output = tmp_path / "out.npz"
    for pool in ("cls", "patches"):
        assert main(["embed", str(tmp_path / "a.jpg"), *model, "--pool", pool, "--output", str(output)]) == 1
    assert not output.exists()
    (tmp_path / "empty").mkdir()
    assert main(["embed", str(tmp_path / "empty"), *model]) == 1
    assert "There are no photos in what you gave" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--layer", "4"], "has the layers 1 to 3 and “final”; “4” is none of them"),
        (["--layer", "last"], "“last” is none of them"),
        (["--pool", "max"], "--pool is “max”, but it must be one of cls, mean, patches"),
        (["--map", "4"], "2 or 3 dimensions, not 4"),
        (["--map", "2", "--seed", "-1"], "a whole number from 0 to 4294967295"),
        (["--map", "2", "--pool", "patches"], "give --pool cls or mean with it"),
        (["--output", "a.txt"], "--output must end in .npz, .csv or .parquet."),
        (["--pool", "patches", "--output", "a.csv"], "--output must end in .npz or .parquet for patches."),
        (["--map-timeout", "0"], "--map-timeout is “0”"),
    ],
)
def test_wrong_usage(picture, model, flags, sentence, capsys):
    assert main(["embed", str(picture), *model, *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_ctrl_c_keeps_what_is_done(folder, model, tmp_path, monkeypatch, capsys):
    embed = gallery_module.EmbeddingGallery._embed

    def interrupted(*arguments):
        for step in embed(*arguments):
            yield step
            if step.done:
                raise KeyboardInterrupt

    monkeypatch.setattr(gallery_module.EmbeddingGallery, "_embed", interrupted)
    output = tmp_path / "out.npz"
    assert main(["embed", str(folder), *model, "--batch-size", "4", "--output", str(output)]) == 130
    with np.load(output) as file:
        assert 0 < len(file["paths"]) < 9
    assert "stopped after" in capsys.readouterr().err


@pytest.mark.parametrize(("fault", "status"), [(KeyboardInterrupt, 130), (UserError("The map was given up."), 1)])
def test_vectors_without_their_map(folder, model, tmp_path, monkeypatch, capsys, fault, status):
    def fail(*arguments):
        raise fault

    monkeypatch.setattr(Mapper, "map", fail)
    monkeypatch.setattr(Mapper, "warm", lambda self: None)
    assert main(["embed", str(folder), *model, "--map", "2", "--output", str(tmp_path / "out.npz")]) == status
    with np.load(tmp_path / "out.npz") as file:
        assert len(file["paths"]) == 9
        assert "map" not in file.files
    assert "the vectors are there" in capsys.readouterr().err.lower()


def test_progress_on_a_terminal(folder, model, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["embed", str(folder), *model]) == 0
    assert "10/10 photos" in capsys.readouterr().err


@pytest.mark.app
def test_in_a_process_of_its_own(folder, model, tmp_path, mapper):
    mapper.wait()
    command = [sys.executable, "-m", "vitdemo", "embed", str(folder), *model, "--map", "2", "--output", str(tmp_path / "a.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "a.csv").read_text("utf-8").count("\n") == 11


def test_200_real_photos_are_timms(shared, tiny_checkpoint, cache_dir, tmp_path):
    photos, layers = shared / "data" / "imagenet_val", ("final", "1", "7", "12")
    flags = ["--model", TINY, "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--cache-dir", str(cache_dir)]
    found = {}
    for layer in layers:  # all but the first from what is kept
        assert main(["embed", str(photos), *flags, "--layer", layer, "--pool", "cls", "--output", str(tmp_path / "out.npz")]) == 0
        with np.load(tmp_path / "out.npz") as file:
            paths, found[layer] = file["paths"].tolist(), file["embeddings"]
        assert len(paths) == len(found[layer]) == 200
    overlay = {"file": str(tiny_checkpoint), "custom_load": False}
    model = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    for first in range(0, 200, 50):
        batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths[first : first + 50]])
        with torch.inference_mode():
            expected = {"final": model.forward_features(batch)[:, 0]}
            blocks = model.get_intermediate_layers(batch, n=[int(layer) - 1 for layer in layers[1:]], return_prefix_tokens=True)
            expected |= {layer: cls[:, 0] for layer, (_, cls) in zip(layers[1:], blocks, strict=True)}
        for layer in layers:
            np.testing.assert_allclose(found[layer][first : first + 50], expected[layer], atol=1e-4)
