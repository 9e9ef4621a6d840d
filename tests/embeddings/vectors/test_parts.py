"""Parts: planted kinds of patches are found, in any length, and each part's nearest patches come from several photos."""

import numpy as np
import pytest

from vitdemo.core.errors import UserError
from vitdemo.embeddings.vectors.parts import assign, find_parts, normed

RNG = np.random.default_rng(0)
KINDS = RNG.normal(size=(4, 32))


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Tokens of 12 photos with 20 patches each, (photos, patches, width), and which of four kinds each patch is."""
    kinds = RNG.choice(4, size=(12, 20), p=(0.4, 0.3, 0.2, 0.1))
    kinds[:6][kinds[:6] == 3] = 0  # the last kind is in the second half only
    return KINDS[kinds] + RNG.normal(0, 0.1, (12, 20, 32)), kinds


def test_planted_kinds_are_found_the_most_frequent_first(planted):
    tokens, kinds = planted
    found = find_parts(tokens, 4)
    assert np.array_equal(found.labels, kinds)
    assert np.bincount(found.labels.ravel()).tolist() == sorted(np.bincount(kinds.ravel()), reverse=True)
    assert found.photos.tolist() == [(kinds == kind).any(1).sum() for kind in range(4)]
    assert found.photos[3] <= 6
    np.testing.assert_allclose(found.distances, np.linalg.norm(normed(tokens) - found.centres[kinds], axis=-1), rtol=1e-4)


def test_length_and_offset_of_a_token_do_not_matter(planted):
    tokens, kinds = planted
    longer = tokens * RNG.uniform(0.5, 30, (12, 20, 1)) + RNG.normal(size=(12, 20, 1))
    assert np.array_equal(find_parts(longer, 4).labels, kinds)
    np.testing.assert_allclose(normed(tokens).mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(normed(tokens).std(-1), 1, atol=1e-5)
    assert not normed(np.ones((1, 2, 8))).any()


def test_centres_can_be_carried_to_other_photos(planted):
    tokens, kinds = planted
    centres = find_parts(tokens[6:], 4).centres
    assert np.array_equal(assign(tokens[:6], centres).labels, kinds[:6])


def test_the_nearest_patches_of_a_part(planted):
    tokens, kinds = planted
    found = find_parts(tokens, 4)
    nearest = found.nearest(1, count=10, per_photo=1)
    assert len({photo for photo, _ in nearest}) == len(nearest) == 10
    assert all(kinds[place] == 1 for place in nearest)
    distances = [found.distances[place] for place in nearest]
    assert distances == sorted(distances)
    assert distances[0] == found.distances[kinds == 1].min()
    assert len(found.nearest(3, count=1000, per_photo=1000)) == (kinds == 3).sum()
    for part in (-1, 4):
        with pytest.raises(UserError, match=f"There is no part {part}: choose one from 0 to 3"):
            found.nearest(part)


@pytest.mark.parametrize("count", [1, 7])
def test_a_number_of_parts_that_can_not_be(count):
    with pytest.raises(UserError, match=f"There can be from 2 to 6 parts; {count} were asked for"):
        find_parts(np.ones((2, 3, 4)), count)


def test_parts_of_real_photos_tell_animals_from_background(shared, real_tiny, engine, settings):
    """k-means of 200 photos carried over to 74 pets: the majority of each part is right for .88 of the patches (majority class: .56)."""
    from vitdemo.attention.methods.faithfulness import mask_shares
    from vitdemo.core.photos.photo import open_photo
    from vitdemo.core.photos.search import find_items
    from vitdemo.embeddings.vectors.patch_gallery import patch_gallery

    folder = shared / "data" / "pets"
    classes, pets = find_items([shared / "data" / "imagenet_val"]), find_items([folder / "images"])
    tokens = [np.stack([rows for _, rows in patch_gallery(items, real_tiny, engine, settings, 9)]) for items in (classes, pets)]
    found = assign(tokens[1], find_parts(tokens[0]).centres)
    masks = [folder / "masks" / f"{item.path.stem}.png" for item in pets]
    shares = np.stack([mask_shares(open_photo(mask, settings).image, real_tiny.preprocessing, (14, 14)).flatten() for mask in masks])
    clear = (shares > 0.75) | (shares < 0.25)
    labels, animal = found.labels[clear], shares[clear] > 0.5
    right = sum(max((animal[labels == part]).sum(), (~animal[labels == part]).sum()) for part in range(16))
    assert right / len(labels) == pytest.approx(0.882, abs=0.02)
