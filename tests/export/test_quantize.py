"""int8 recipes: which are tried where, what they leave alone, and that their numbers stay near."""

import logging

import numpy as np
import onnx
import pytest
import torch

from tests.support.small_vits import small_vit
from vitdemo.export import formats, quantize, runtimes
from vitdemo.export.bundle import choose
from vitdemo.export.parity import Agreement
from vitdemo.export.plan import Plan
from vitdemo.export.quantize import QuantizationRecipe, recipes
from vitdemo.export.report import ReportRow, concerns


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A small model in fp32, as the quantiser gets it: its file and its Vit."""
    from dataclasses import replace

    vit = small_vit()
    vit = replace(vit, preprocessing=replace(vit.preprocessing, size=(64, 64)))
    return formats.write(vit, Plan("onnx"), tmp_path_factory.mktemp("graph")), vit


def test_signed_weights_are_for_vnni_and_static_for_photos():
    assert not any(each.signed for each in recipes(vnni=False, calibrated=True))
    assert any(each.signed for each in recipes(vnni=True, calibrated=False))
    assert [each.kind for each in recipes(vnni=False, calibrated=True)].count("static") == 1
    assert not any(each.kind == "static" for each in recipes(vnni=True, calibrated=False))
    for vnni in (True, False):
        names = [each.name for each in recipes(vnni=vnni, calibrated=True)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("recipe", recipes(vnni=True, calibrated=True), ids=lambda recipe: recipe.name)
def test_every_recipe_runs_and_stays_near(recipe, graph, tmp_path):
    source, vit = graph
    root = logging.getLogger()
    before = (root.level, root.handlers[:], logging.root.manager.disable)
    batch = np.random.default_rng(0).standard_normal((3, 3, 64, 64), dtype=np.float32)
    quantize.quantize(source, tmp_path / "q.onnx", recipe, [each[None] for each in batch])
    found = runtimes.open_onnx(tmp_path / "q.onnx")(batch)["logits"]
    with torch.inference_mode():
        expected = vit.module(torch.from_numpy(batch)).numpy()
    assert 0 < np.abs(found - expected).max() < 0.25 * np.abs(expected).max()
    assert (tmp_path / "q.onnx").stat().st_size < 0.8 * source.stat().st_size
    assert (root.level, root.handlers, logging.root.manager.disable) == before


def test_the_layers_are_found_by_their_module(graph):
    model = onnx.load(graph[0])
    second = quantize.nodes_of(model, ("fc2",))
    weights = {each.name: tuple(each.dims) for each in model.graph.initializer}
    shapes = [weights[node.input[1]] for node in model.graph.node if node.name in second]
    assert shapes == [(4 * 48, 48)] * 3  # from the hidden width to the model's, once a block


def test_later_fc2_stays_in_fp32(graph, tmp_path):
    quantize.quantize(graph[0], tmp_path / "q.onnx", QuantizationRecipe("x", "dynamic", late_fc2=True))
    kept = [node.name for node in onnx.load(tmp_path / "q.onnx").graph.node if node.op_type == "MatMul"]
    second = quantize.nodes_of(onnx.load(graph[0]), ("fc2",))
    assert [name for name in second if name in kept] == second[1:]


def row(name: str, size: int, agreement: float, seconds: float, mean: float = 0.1) -> ReportRow:
    return ReportRow(name, size, Agreement(200, 1.0, mean, agreement, 0.5, None, None, 0), {1: seconds, 8: 8 * seconds})


def test_the_fastest_that_agrees_or_the_smallest():
    rows = [row("fast, wrong", 7, 0.8, 0.01), row("fast", 10, 0.96, 0.02), row("small", 8, 0.99, 0.05), row("large", 12, 1.0, 0.04)]
    assert choose(rows, "fastest").name == "fast"
    assert choose(rows, "smallest").name == "small"


def test_times_that_are_nearly_the_same_decide_nothing():
    rows = [row("a", 7, 0.95, 0.020), row("b", 7, 0.97, 0.022), row("c", 7, 1.0, 0.030)]
    assert choose(rows, "fastest").name == "b"


def test_where_none_agrees_the_closest_is_shipped_and_said_so():
    rows = [row("a", 7, 0.5, 0.01), row("b", 8, 0.9, 0.05)]
    chosen = choose(rows, "fastest")
    assert chosen.name == "b"
    said = concerns(chosen, row("fp32", 24, 1.0, 0.04), signed=False, strange=False)
    assert said[0].startswith("It agrees with the original on only 90.0 % of the photos: fp32 (0.0 MB) or fp16 is the better choice.")
    assert "slower than fp32 (50 instead of 40 ms a photo)" in said[1]
    assert "VNNI" in concerns(row("c", 7, 1.0, 0.01), None, signed=True, strange=False)[0]
    assert concerns(row("c", 7, 1.0, 0.01), row("fp32", 24, 1.0, 0.04), signed=False, strange=False) == ()


def test_drawings_that_a_model_was_not_made_for_are_said_to_be_some():
    (said,) = concerns(row("c", 7, 1.0, 0.01), row("fp32", 24, 1.0, 0.04), signed=False, strange=True)
    assert "compared on drawings" in said
    assert "a faster int8 recipe may agree" in said
    assert "some hundred photos" in said
