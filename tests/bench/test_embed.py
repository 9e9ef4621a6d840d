"""The benches of vectors, maps and layers run all their sides for real; how fast they are is for them to say."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.bench.conftest import Sides, words
from tests.support.pictures import noise
from vitdemo.bench import embed
from vitdemo.cli import main
from vitdemo.core import config


@pytest.mark.slow
def test_all_sides_answer(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    for number in range(3):
        noise(80, 60, number).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(embed, "POINTS", 300)
    assert main(["bench", "embed", "--runs", "1", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["embed"]
    assert list(figures["vectors"]) == list(embed.PASSES)
    assert list(figures["map"]) == list(embed.MAPS)
    for side in (*figures["vectors"].values(), *figures["map"].values()):
        assert len(side["seconds"]) == 1
        assert side["seconds"][0] > 0
        assert side["peak_mb"] > 100
    assert all(0.5 < side["found"] <= 1 for side in figures["map"].values())
    assert all(len(figures[name]) == 1 for name in ("ready", "first map", "layer switch"))
    printed = capsys.readouterr().out
    assert "map of 300 × 768" in printed
    assert all(words in printed for words in embed.WORDS.values())


@pytest.mark.slow
def test_the_known_accuracies_are_printed(shared, tmp_path, capsys):
    assert main(["bench", "layers", "--json", str(tmp_path / "f.json")]) == 0
    layers = json.loads((tmp_path / "f.json").read_text("utf-8"))["layers"]["layers"]
    assert [each["layer"] for each in layers] == [*range(1, 13), "final"]
    assert all(each["ours"] == pytest.approx(each["sklearn"], abs=0.006) for each in layers)
    assert "best: layer 12" in capsys.readouterr().out


@pytest.mark.parametrize("bench", ["embed", "layers"])
def test_without_photos(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", bench]) == 1
    assert "set VITDEMO_SHARED, or give --photos" in capsys.readouterr().err


def test_what_is_made_of_the_sides_seconds(five, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed, "is_installed", lambda name: True)
    passes = {"ours": [2.0, 8.0], "hooks": [3.0, 3.0], "transformers": [4.0, 4.0], "model alone": [1.0, 2.0]}
    sides = Sides(passes | {"our map": [1.0, 3.0], "umap.UMAP": [4.0, 6.0]}, {"our map": 0.98765, "umap.UMAP": 0.9})
    monkeypatch.setattr(embed, "Side", sides)
    monkeypatch.setattr(embed, "PHOTOS", 4)
    monkeypatch.setattr(embed, "_resident", lambda runs, cache: {"ready": [runs]})
    found = embed.run(runs=2, photos=tmp_path)
    assert list(found) == ["vectors", "map", "ready"]
    assert found["ready"] == [2]
    assert {name: figures["seconds"] for name, figures in found["vectors"].items()} == passes
    assert {name: figures["found"] for name, figures in found["map"].items()} == {"our map": 0.98765, "umap.UMAP": 0.9}
    first, second = list(embed.PASSES), [*embed.PASSES[1:], embed.PASSES[0]]  # no side always comes first
    assert sides.turns == [*first, *second, "our map", "umap.UMAP", "umap.UMAP", "our map"]
    assert {task[2:] for task in sides.tasks} == {(str(tmp_path), 4), (embed.POINTS,)}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"all layers' vectors of 4 photos, {embed.MODEL}, batch 16"
    alone = "× model alone, photos decoded"
    assert words(lines[1]) == f"ours, decoding and all 5.00 s 3.00 {alone} 400 MB at most (2.00 to 8.00 s)"
    assert words(lines[7]) == 'umap.UMAP(metric="cosine") 5.00 s 3.00 × ours 900 MB at most (4.00 to 6.00 s) trustworthiness 0.9000'


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("side", ["ours", "hooks", "model alone"])
def test_a_side_embeds_every_photo(side, precision, five, small_network, monkeypatch):
    monkeypatch.setattr(embed, "network_of", small_network)
    if side != "hooks":
        monkeypatch.setitem(embed._PASSES, side, partial(embed._PASSES[side], precision=precision))
    monkeypatch.setattr(embed, "BATCH", 2)
    answer = embed._PASSES[side](five)
    assert [answer(five), answer(five[:2])] == [5, 2]


def test_a_side_warms_with_one_batch_and_fails_where_a_photo_is_missing(five, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(embed, "BATCH", 2)
    monkeypatch.setattr(embed, "_PASSES", {"one": lambda paths: lambda wanted: asked.append((paths, wanted)) or min(len(wanted), 3)})
    monkeypatch.setattr(embed, "serve", lambda warm, work: (warm(), work()))
    embed._serve("one", str(tmp_path), 3)
    assert asked == [(five[:3], five[:2]), (five[:3], five[:3])]
    with pytest.raises(AssertionError):
        embed._serve("one", str(tmp_path), 4)


def test_cls_and_mean_are_taken_of_every_layer():
    layers = [torch.arange(24.0).reshape(2, 3, 4), torch.ones(2, 3, 4)]  # (images, tokens, width)
    pooled = embed._pooled(layers)
    assert pooled.shape == (2, 2, 2, 4)  # (images, layers, pooling, width)
    assert pooled[0, 0].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert pooled[1, 0, 0].tolist() == [12, 13, 14, 15]
    assert pooled[:, 1].tolist() == [[[1] * 4] * 2] * 2


def test_the_points_are_in_as_many_groups():
    points = embed._points(300)
    assert (points.shape, points.dtype) == ((300, embed.WIDTH), np.float32)
    assert np.array_equal(points, embed._points(300))
    squares = np.square(points).sum(1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    near = distances < 1.2**2 * 2 * embed.WIDTH  # of the distance inside a group
    assert len(np.unique(near, axis=0)) == embed.GROUPS
    assert np.std(embed._points(300, blur=2.0)) == pytest.approx(5**0.5, rel=0.05)


def test_a_map_is_warmed_with_a_hundred_points(monkeypatch):
    from vitdemo.embeddings.maps import atlas, scores

    drawn, trusted = [], []

    class UMAP:
        def __init__(self, metric: str, random_state: int):
            drawn.append((metric, random_state))

        def fit_transform(self, rows):
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    monkeypatch.setattr(scores, "trustworthiness", lambda rows, places: trusted.append((rows.shape, places.shape)) or 0.5)
    monkeypatch.setattr(atlas, "draw", lambda rows, options: drawn.append((rows.shape, options)) or SimpleNamespace(trust=0.75))
    ours, plain = embed._MAPS["our map"](150), embed._MAPS["umap.UMAP"](150)
    assert (ours(True), ours(False), plain(True), plain(False)) == (0.75, 0.75, 0.5, 0.5)
    assert drawn == [((100, 768), atlas.MapOptions()), ((150, 768), atlas.MapOptions()), ("cosine", 0), ("cosine", 0)]
    assert trusted == [((100, 768), (100, 2)), ((150, 768), (150, 2))]


def test_of_the_mappers_starts_the_first_is_not_counted(tmp_path, monkeypatch, clock_of, capsys):
    from vitdemo.embeddings.maps import mapper as mapper_module
    from vitdemo.embeddings.maps.atlas import draw

    clock, starts, log = clock_of(embed), iter([20.0, 3.0, 5.0]), []
    monkeypatch.setattr(embed, "SWITCHED", 4)

    class Mapper:
        def __init__(self, settings):
            self.folder = settings.cache_dir

        def warm(self) -> None:
            log.append(("warm", self.folder))

        def wait(self) -> None:
            clock.pass_(next(starts))

        def map(self, vectors, options, start=None):
            clock.pass_(2.0 if start is None else 0.5)
            log.append(("map", vectors.shape, start is not None))
            yield draw(vectors, options)

        def close(self) -> None:
            log.append(("close",))

    monkeypatch.setattr(mapper_module, "Mapper", Mapper)
    assert embed._resident(2, tmp_path) == {"ready": [3.0, 5.0], "first map": [2.0, 2.0], "layer switch": [0.5, 0.5]}
    assert log == [("warm", tmp_path), ("map", (4, 768), False), ("map", (4, 768), True), ("close",)] * 3
    said = capsys.readouterr().out
    assert "compiles for 20.0 s; later ones, 4 × 768:" in said
    assert "4.00 s  (3.00 to 5.00 s)" in said


def test_transformers_gives_all_hidden_states_but_the_first(five, monkeypatch):
    pooled, batches = [], []
    pool = embed._pooled

    class Model:
        def __init__(self, config: str, add_pooling_layer: bool):
            assert (config, add_pooling_layer) == ("config", False)

        def eval(self) -> "Model":
            return self

        def __call__(self, images, output_hidden_states: bool):
            assert output_hidden_states
            batches.append(images)
            return SimpleNamespace(hidden_states=[torch.full((images, 5, 4), float(layer)) for layer in range(3)])

    def processor(photos: list, return_tensors: str) -> dict:
        assert return_tensors == "pt"
        assert all(photo.mode == "RGB" for photo in photos)
        return {"images": len(photos)}

    transformers = SimpleNamespace(ViTConfig=lambda: "config", ViTImageProcessor=lambda: processor, ViTModel=Model)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(embed, "BATCH", 2)
    monkeypatch.setattr(embed, "_pooled", lambda layers: pooled.append([each.max().item() for each in layers]) or pool(layers))
    assert embed._PASSES["transformers"](five)(five) == 5
    assert batches == [2, 2, 1]
    assert pooled == [[1.0, 2.0]] * 3


def test_each_precision_is_beside_the_bare_model_in_fp32(five, tmp_path, monkeypatch, capsys):
    seconds = {side: [4.0] for side in (*embed.PASSES, *embed.MAPS)} | {"ours bf16": [1.0], "model alone bf16": [2.0]}
    sides = Sides(seconds, dict.fromkeys(embed.MAPS, 0.9))
    monkeypatch.setattr(embed, "Side", sides)
    monkeypatch.setattr(embed, "_resident", lambda runs, cache: {})
    found = embed.run(runs=1, photos=tmp_path, precisions=("fp32", "bf16"))
    assert list(found) == ["vectors", "vectors bf16", "map"]
    assert list(found["vectors bf16"]) == ["ours", "model alone", "ours bf16", "model alone bf16"]
    assert "ours, decoding and all, bf16 1.00 s 0.25 × model alone" in words(capsys.readouterr().out)
