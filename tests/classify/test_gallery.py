"""A gallery's predictions: timm's own for each photo, one row a file, each photo computed once."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from tests.support.pictures import noise
from tests.support.small_vits import small_vit
from vitdemo.classify.gallery import classify_gallery
from vitdemo.classify.photo import classify
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace
from vitdemo.core.photos.search import find_items


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    for number, size in enumerate([(320, 240), (100, 400), (40, 30), (224, 224), (500, 90), (61, 77), (300, 300)]):
        noise(size[0] // 10, size[1] // 10, number).resize(size).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("batch_size", [0, 1, 3, 100])
def test_any_batch_size_gives_each_photos_own_answer(folder, vit, engine, batch_size):
    rows = list(classify_gallery(find_items([folder]), vit, engine, Settings(batch_size=batch_size), top=3))
    assert [row.path for row in rows] == [str(folder / f"{number}.png") for number in range(7)]
    for row in rows:
        alone = classify(Image.open(row.path).convert("RGB"), vit, engine, top=3).predictions
        assert [each.label for each in row.predictions] == [each.label for each in alone]
        assert [each.probability for each in row.predictions] == pytest.approx([each.probability for each in alone], abs=1e-5)


def test_a_bad_file_is_a_row_among_the_others(vit, engine, picture, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    good, bad, again = classify_gallery(find_items([picture, tmp_path / "bad.jpg", picture]), vit, engine, Settings(), top=2)
    assert (len(good.predictions), good.error, good.duplicate_of) == (2, None, None)
    assert (bad.path, bad.predictions) == (str(tmp_path / "bad.jpg"), None)
    assert bad.error.startswith("“bad.jpg” is not a photo")
    assert (again.predictions, again.sha256, again.duplicate_of) == (good.predictions, good.sha256, good.path)


def test_numbers_that_are_not_finite_are_told(folder, engine):
    """As an overflow of fp16 gives them, or damaged weights."""
    vit, items = small_vit(), find_items([folder])
    plain = vit.module.forward_head
    first = sorted(engine.logits(vit, vit.preprocessing(Image.open(item.path).convert("RGB"))[None])[0][0, 0].item() for item in items)
    middle = (first[2] + first[3]) / 2
    vit.module.forward_head = lambda tokens: (logits := plain(tokens)) * torch.where(logits[:, :1] > middle, 1, torch.nan)
    rows = list(classify_gallery(items, vit, engine, Settings(), top=2))
    assert [bool(row.error) for row in rows].count(True) == 3
    for row in rows:
        photo = Image.open(row.path).convert("RGB")
        if not row.error:
            assert [each.label for each in row.predictions] == [each.label for each in classify(photo, vit, engine, top=2).predictions]
            continue
        assert row.error.startswith(f"The model gives no finite numbers for “{row.path.split('/')[-1]}”: its weights may be damaged")
        for ask in (lambda photo: classify(photo, vit, engine), lambda photo: trace(vit, vit.preprocessing(photo))):
            with pytest.raises(UserError, match="no finite numbers for this photo"):
                ask(photo)


def test_a_photo_that_rows_share_is_computed_once(folder, vit, engine):
    seen = []
    items = find_items([folder, folder, folder])
    module = vit.module
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        rows = list(classify_gallery(items, vit, engine, Settings(batch_size=4)))
    finally:
        handle.remove()
    assert sum(seen) == 7
    assert len(rows) == 21
    assert [row.duplicate_of for row in rows] == [None] * 7 + [row.path for row in rows[:7]] * 2
    assert all(row.predictions == rows[index % 7].predictions for index, row in enumerate(rows))


def test_only_bad_files(tmp_path, vit, engine):
    for number in range(20):
        (tmp_path / f"{number}.png").touch()
    rows = list(classify_gallery(find_items([tmp_path]), vit, engine, Settings()))
    assert len(rows) == 20
    assert all(row.error.endswith("is empty (0 bytes): copy or download it again.") for row in rows)


def test_thumbnails_show_what_the_model_saw(folder, vit, engine):
    (row,) = classify_gallery(find_items([folder / "0.png"]), vit, engine, Settings(), thumbnails=True)
    small = Image.open(io.BytesIO(row.thumbnail))
    assert (small.format, small.size) == ("JPEG", (64, 64))
    seen = vit.preprocessing.crop(Image.open(folder / "0.png").convert("RGB"))
    assert np.asarray(small.resize((8, 8)), float) == pytest.approx(np.asarray(seen.resize((8, 8)), float), abs=6)
    assert next(classify_gallery(find_items([folder]), vit, engine, Settings())).thumbnail is None


def test_stopping_early_keeps_what_is_done(folder, vit, engine):
    rows = classify_gallery(find_items([folder] * 50), vit, engine, Settings(batch_size=1))
    kept = [next(rows) for _ in range(3)]
    rows.close()
    assert [row.path for row in kept] == [str(folder / f"{number}.png") for number in range(3)]
    assert list(rows) == []


def seen_by(vit, engine, folder, settings: Settings) -> torch.Tensor:
    """The numbers that the model receives of a gallery, in order."""
    seen = []
    handle = vit.module.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0].clone()))
    try:
        assert all(row.error is None for row in classify_gallery(find_items([folder]), vit, engine, settings))
    finally:
        handle.remove()
    return torch.stack(sorted(seen, key=lambda image: float(image.double().sum())))


def test_the_model_receives_what_timms_transform_gives(folder, vit, engine):
    """To the last bit."""
    transform = create_transform(**resolve_model_data_config(vit.module), is_training=False)
    theirs = [transform(Image.open(folder / f"{number}.png").convert("RGB")) for number in range(7)]
    theirs.sort(key=lambda image: float(image.double().sum()))
    assert torch.equal(seen_by(vit, engine, folder, Settings(batch_size=4)), torch.stack(theirs))


def test_a_draft_is_decoded_only_where_it_is_asked_for(vit, engine, tmp_path):
    noise(60, 40).resize((2400, 1600)).save(tmp_path / "large.jpg")
    side = vit.preprocessing.draft_side
    with Image.open(tmp_path / "large.jpg") as photo:
        full = vit.preprocessing(photo.convert("RGB"))
    with Image.open(tmp_path / "large.jpg") as photo:
        photo.draft(None, (side, side))
        assert 2400 > photo.width > side
        small = vit.preprocessing(photo.convert("RGB"))
    assert torch.equal(seen_by(vit, engine, tmp_path, Settings())[0], full)
    assert torch.equal(seen_by(vit, engine, tmp_path, Settings(jpeg_draft=True))[0], small)
    assert not torch.equal(small, full)
