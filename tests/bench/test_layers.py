"""The bench of layers on a small model: each figure against its own source. The real ones are in test_embed.py."""

import pytest

from tests.support.pictures import paint
from vitdemo.bench import layers
from vitdemo.core.config import Settings
from vitdemo.core.photos.search import find_items
from vitdemo.embeddings.maps.scores import score_layer
from vitdemo.embeddings.vectors.gallery import EmbeddingGallery


@pytest.fixture
def folder(tmp_path):
    """Twelve photos of three classes."""
    return paint(tmp_path / "colours", 4, 0)


def test_both_accuracies_of_every_layer(folder, tmp_path, small_models, engine, clock_of, capsys):
    vit = small_models(tmp_path / "shared", layers.TINY)
    clock_of(layers)
    found = layers.run(photos=folder)
    gallery = EmbeddingGallery(find_items([folder]), vit, engine, Settings(vector_cache_mb=0))
    for _ in gallery.work():
        pass
    assert [row["layer"] for row in found["layers"]] == [1, 2, 3, "final"]
    names = [row.folder for row in gallery.done]
    for row in found["layers"]:
        score = score_layer(row["layer"], gallery.vectors(row["layer"], "cls"), names)
        assert (row["ours"], row["silhouette"]) == (score.accuracy, score.silhouette)
        assert row["sklearn"] == pytest.approx(score.accuracy, abs=0.09)  # one photo of twelve, where two are as near
    assert found["seconds"] == {"ours": 0, "sklearn": 0}
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{layers.TINY}, 12 photos in 3 folders")
    best = max(found["layers"], key=lambda row: row["ours"])
    assert said[-1] == f"  best: layer {best['layer']}; 0.00 s by ours with the silhouettes, 0.00 s by sklearn"
    assert len(said) == 2 + 4 + 1


def test_the_known_accuracies_stand_beside_those_of_the_shared_photos(tmp_path, small_models, monkeypatch, clock_of, capsys):
    from vitdemo.embeddings.maps import scores

    small_models(tmp_path, layers.TINY)
    paint(tmp_path / "data" / "imagenet_val", 2, 0)
    clock = clock_of(layers)
    accuracy = {1: 0.25, 2: 0.75, 3: 0.75, "final": 0.5}
    monkeypatch.setattr(scores, "score_layer", lambda layer, *_: clock.pass_(2) or scores.LayerScore(layer, accuracy[layer], 0.125))
    monkeypatch.setattr(layers, "_sklearn", clock.taking(3, 0.5))
    found = layers.run()
    assert found["layers"][1] == {"layer": 2, "ours": 0.75, "sklearn": 0.5, "silhouette": 0.125}
    assert found["seconds"] == {"ours": 8, "sklearn": 12}
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[2] == ["1", "0.250", "0.500", "0.14", "0.125"]
    assert said[3] == ["2", "0.750", "0.500", "0.125"]  # of this layer nothing is known
    assert said[5] == ["final", "0.500", "0.500", "0.89", "0.125"]
    assert said[6][:3] == ["best:", "layer", "2;"]  # the first of equals
