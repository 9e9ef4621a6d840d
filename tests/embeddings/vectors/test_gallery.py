"""A gallery's vectors: every file has its row, each photo goes through the model once, and what is known stays known."""

import copy
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.pictures import noise
from tests.support.small_vits import in_precision, small_vit
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import id_of
from vitdemo.core.photos.search import find_items
from vitdemo.embeddings.vectors.gallery import EmbeddingGallery


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", batch_size=4)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve photos in two folders, a bad file between them, and two that come again."""
    for number in range(12):
        place = tmp_path / "photos" / ("<b>odd" if number < 6 else "évén")
        place.mkdir(parents=True, exist_ok=True)
        noise(70, 50, number).save(place / f"{number:02}.png")
    (tmp_path / "photos" / "<b>odd" / "04b.png").write_bytes(b"no photo")
    for source, copied in (("<b>odd/02", "<b>odd/05b"), ("<b>odd/01", "évén/99")):
        (tmp_path / "photos" / f"{copied}.png").write_bytes((tmp_path / "photos" / f"{source}.png").read_bytes())
    return tmp_path / "photos"


@pytest.fixture
def counted(engine, monkeypatch) -> list[int]:
    """How many photos go through the model, pass by pass."""
    sizes, forward = [], engine.forward
    monkeypatch.setattr(engine, "forward", lambda network, batch: (sizes.append(len(batch)), forward(network, batch))[1])
    return sizes


def embed(items, vit, engine, settings, **options) -> EmbeddingGallery:
    gallery = EmbeddingGallery(items, vit, engine, settings, **options)
    for _ in gallery.work():
        pass
    return gallery


def test_a_model_that_refuses_names_no_class_for_the_unfamiliar(folder, engine, settings):
    vit, items = small_vit(), find_items([folder])
    plain = embed(items, vit, engine, settings)
    features = torch.stack([engine.logits_and_features(vit, vit.preprocessing(Image.open(item.path))[None])[1][0] for item in items[:4]])
    refusing = replace(vit, ood=OodDetector(features[::2], torch.eye(features.shape[1]), limit=1e-3, refuses=True))
    for _ in range(2):  # from the model, then from the cache
        gallery = embed(items, refusing, engine, settings)
        assert [bool(row.predictions) for row in gallery.done[:4]] == [True, False, True, False]
        np.testing.assert_array_equal(gallery.vectors("final"), plain.vectors("final"))
    assert all(row.predictions for row in embed(items, vit, engine, settings).done)  # each model has its own records


def test_every_file_has_its_row(folder, engine, settings, counted):
    vit, items = small_vit(), find_items([folder])
    gallery = embed(items, vit, engine, settings)
    assert [row.path for row in gallery.rows] == [item.name for item in items]
    assert [row.folder for row in gallery.rows] == ["<b>odd"] * 8 + ["évén"] * 7
    assert [Path(row.path).name for row in gallery.rows if row.error] == ["04b.png"]
    twins = {Path(row.path).name: Path(row.duplicate_of).name for row in gallery.rows if row.duplicate_of}
    assert twins == {"05b.png": "02.png", "99.png": "01.png"}
    assert sum(counted) == 12
    assert all(row.sha256 == id_of(item.path.read_bytes()) for row, item in zip(gallery.rows, items, strict=True))
    inputs = torch.stack([vit.preprocessing(Image.open(row.path).convert("RGB")) for row in gallery.done])
    with torch.inference_mode():
        final = vit.module.forward_features(inputs)
        second = vit.module.get_intermediate_layers(inputs, n=[1], return_prefix_tokens=True)[0]
        probabilities, classes = vit.module(inputs).softmax(-1).topk(5)
    np.testing.assert_allclose(gallery.vectors("final"), final[:, 0], atol=1e-5)
    np.testing.assert_allclose(gallery.vectors("final", "mean"), final[:, 1:].mean(1), atol=1e-5)
    np.testing.assert_allclose(gallery.vectors(2), second[1][:, 0], atol=1e-5)
    np.testing.assert_allclose(gallery.vectors(2, "mean"), second[0].mean(1), atol=1e-5)
    for row, top, shares in zip(gallery.done, classes.tolist(), probabilities.tolist(), strict=True):
        assert [each.label.index for each in row.predictions] == top
        assert [each.probability for each in row.predictions] == pytest.approx(shares, abs=1e-5)


def test_progress_tells_all(folder, engine, settings):
    gallery = EmbeddingGallery(find_items([folder]), small_vit(), engine, settings)
    steps = list(gallery.work())
    assert {each.phase for each in steps} == {"photos"}
    assert [each.done for each in steps] == sorted(each.done for each in steps)
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (0, 15, 15)
    assert steps[0].left is None
    assert steps[-1].speed > 0
    assert steps[-1].left == 0


def test_the_same_gallery_again_needs_no_model(folder, engine, settings, counted):
    first = embed(find_items([folder]), small_vit(), engine, settings)
    counted.clear()
    again = embed(find_items([folder]), small_vit(), engine, settings)
    assert counted == []
    assert again.rows == first.rows
    for layer in first.layers:
        for pool in first.pools:
            np.testing.assert_array_equal(again.vectors(layer, pool), first.vectors(layer, pool))


def test_what_is_new_is_computed_alone(folder, engine, settings, counted):
    embed(find_items([folder]), small_vit(), engine, settings)
    counted.clear()
    for number in range(20, 30):
        noise(70, 50, number).save(folder / f"{number}.png")
    gallery = embed(find_items([folder]), small_vit(), engine, settings)
    assert sum(counted) == 10
    assert len(gallery.done) == 24
    fresh = embed(find_items([folder]), small_vit(), engine, replace(settings, vector_cache_mb=0))
    np.testing.assert_allclose(gallery.vectors(3), fresh.vectors(3), atol=1e-5)


def test_known_photos_are_not_decoded(folder, engine, settings, monkeypatch):
    embed(find_items([folder]), small_vit(), engine, settings)
    decoded = []
    from vitdemo.core.photos import prefetch

    decode = prefetch.decode
    monkeypatch.setattr(
        prefetch, "decode", lambda data, shown, *rest, **more: (decoded.append(shown), decode(data, shown, *rest, **more))[1]
    )
    embed(find_items([folder]), small_vit(), engine, settings)
    assert set(decoded) <= {"04b.png"}


def test_another_model_or_preprocessing_has_its_own(folder, engine, settings, counted):
    vit = small_vit()
    embed(find_items([folder]), vit, engine, settings)
    for other, preprocessing in ((small_vit(seed=1), None), (vit, replace(vit.preprocessing, crop_pct=0.5))):
        counted.clear()
        embed(find_items([folder]), other, engine, settings, preprocessing=preprocessing)
        assert sum(counted) == 12


def test_another_precision_has_its_own(folder, engine, settings, counted):
    vit, items = small_vit(), find_items([folder])
    exact = embed(items, vit, engine, settings)
    lower = embed(items, in_precision(vit, "bf16"), engine, settings)
    assert sum(counted) == 24
    assert (exact.model, lower.model) == ("plain", "plain@bf16")
    cosines = (exact.vectors("final") * lower.vectors("final")).sum(1) / np.prod(
        [np.linalg.norm(each.vectors("final"), axis=1) for each in (exact, lower)], axis=0
    )
    assert (cosines > 0.999).all()
    assert not np.array_equal(exact.vectors("final"), lower.vectors("final"))
    np.testing.assert_array_equal(embed(items, small_vit(), engine, settings).vectors("final"), exact.vectors("final"))
    assert sum(counted) == 24  # fp32 has kept its own


def test_a_stop_keeps_what_is_done(folder, engine, settings, counted):
    gallery = EmbeddingGallery(find_items([folder]), small_vit(), engine, settings)
    for step in gallery.work():
        if step.done:
            gallery.work().close()
            break
    done = len(gallery.rows)
    assert 0 < done < 15
    assert len(gallery.vectors("final")) == len(gallery.done) > 0
    np.testing.assert_array_equal(
        gallery.vectors(1), embed(find_items([folder]), small_vit(), engine, settings).vectors(1)[: len(gallery.done)]
    )


def test_numbers_that_are_none(folder, engine, settings):
    vit = small_vit()
    broken = replace(vit, module=copy.deepcopy(vit.module))
    with torch.no_grad():
        broken.module.blocks[1].mlp.fc1.weight[0, 0] = torch.nan
    for _ in range(2):  # and they are not kept
        gallery = embed(find_items([folder]), broken, engine, settings)
        assert gallery.done == []
        assert gallery.vectors("final").shape == (0, 48)
        reasons = [row.error for row in gallery.rows]
        assert reasons[0].startswith("The model gives no finite numbers for “00.png”: its weights may be damaged")
        assert reasons[-1].startswith("The model gives no finite numbers for “01.png”: its weights may be damaged")


def test_thumbnails_of_known_photos_too(folder, engine, settings, counted):
    for _ in range(2):
        gallery = embed(find_items([folder]), small_vit(), engine, settings, thumbnails=True)
        assert all(Image.open(io.BytesIO(row.thumbnail)).size == (96, 96) for row in gallery.done)
    assert sum(counted) == 12
    assert embed(find_items([folder]), small_vit(), engine, settings).rows[0].thumbnail is None


@pytest.mark.parametrize("kind", ["registers", "no CLS, average", "no CLS, attention pooling"])
def test_other_kinds_of_models(folder, engine, settings, kind):
    vit = small_vit(kind)
    for _ in range(2):
        gallery = embed(find_items([folder]), vit, engine, settings)
        assert len(gallery.vectors("final", gallery.pools[-1])) == 14
    assert gallery.pools == (("cls", "mean") if kind == "registers" else ("mean",))


def test_a_feature_backbone_predicts_nothing(folder, engine, settings):
    gallery = embed(find_items([folder]), replace(small_vit(), labels=()), engine, settings)
    assert {row.predictions for row in gallery.done} == {()}


def test_no_files_and_only_bad_ones(tmp_path, engine, settings):
    assert embed([], small_vit(), engine, settings).vectors("final").shape == (0, 48)
    gallery = embed([Item(tmp_path / "gone.png", "gone.png")], small_vit(), engine, settings)
    assert len(gallery.rows) == 1
    assert "is not there" in gallery.rows[0].error
    assert gallery.vectors(1, "mean").shape == (0, 48)


def test_a_full_disk(folder, engine, settings, monkeypatch):
    gallery = EmbeddingGallery(find_items([folder]), small_vit(), engine, settings)
    monkeypatch.setattr(gallery._table, "_file", open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(UserError, match="can't be written to disk"):
        list(gallery.work())


def test_the_model_is_let_go(folder, engine, settings):
    import gc
    import weakref

    vit = small_vit()
    gallery, alive = embed(find_items([folder]), vit, engine, settings), weakref.ref(vit)
    del vit
    gc.collect()
    assert alive() is None
    assert len(gallery.vectors("final")) == 14
