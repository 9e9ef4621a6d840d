"""The table of docs/models.md: what this project does with every family, beside timm's own model with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.layers import set_fused_attn

from tests.support.pictures import noise, paint
from tests.support.small_vits import FAMILIES, write_family
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.votes import ledger
from vitdemo.attention.question import Question, heat
from vitdemo.attention.snippet import snippet
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls
from vitdemo.core.inference.trace import trace
from vitdemo.core.models import loader
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.search import find_items
from vitdemo.embeddings.vectors.extract import all_layers, patches_after
from vitdemo.export import formats, runtimes
from vitdemo.export.plan import Plan
from vitdemo.finetune.data.folders import place
from vitdemo.finetune.learning.train import finetune
from vitdemo.finetune.recipe import Recipe

CPU = torch.device("cpu")
MASKED = ("BEiT", "BEiT v2", "relative positions", "shared relative positions", "relative positions, CLS")  # by a relative position bias
LONG = {  # methods that take more than a few lines of timm: RMS norms, a gated MLP, or biases that are no layer's own
    "parallel blocks": ["relevance", "votes", "fullgrad"],
    "EVA-02": ["relevance", "fullgrad"],
    "BEiT": ["fullgrad"],
    "BEiT v2": ["fullgrad"],
}
WITHOUT_CLS = (
    "attention pooling",
    "no CLS",
    "relative positions",
    "shared relative positions",
    "NaFlexViT",
    "NaFlexViT, attention pooling",
)


class Model:
    """One model: as this project loads it, as timm loads it, and as timm loads it without fused attention."""

    def __init__(self, family: str, folder: Path):
        self.family, self.folder = family, folder
        self.vit, self.timms = opened(folder), timm.create_model(f"local-dir:{folder}", pretrained=True).eval().requires_grad_(False)
        set_fused_attn(False)
        try:
            self.unfused = timm.create_model(f"local-dir:{folder}", pretrained=True).eval().requires_grad_(False)
        finally:
            set_fused_attn(True)
        self.batch = torch.randn(2, 3, *self.vit.preprocessing.size, generator=torch.Generator().manual_seed(0))

    def timms_tokens(self) -> list[torch.Tensor]:
        """Each layer's tokens, and those after the last norm, as timm gives them."""
        prefix = self.timms.num_prefix_tokens > 0
        with torch.inference_mode():
            final, layers = self.timms.forward_intermediates(self.batch, output_fmt="NLC", return_prefix_tokens=prefix)
        return [*(torch.cat(layer[::-1], 1) if prefix else layer for layer in layers), final]


def opened(folder: Path) -> Vit:
    return loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> Model:
    return Model(request.param, write_family(tmp_path_factory.mktemp("family"), request.param))


def test_logits_are_identical(model):
    found = trace(model.vit, model.batch[0])
    with torch.inference_mode():
        expected = model.timms(model.batch)
        assert torch.equal(model.vit.logits(model.batch), expected)
        assert torch.equal(found.logits, model.timms(model.batch[:1])[0])
    assert expected.std() > 0.01


def test_attention_is_softmax_of_its_queries_and_keys(model):
    """The kernel's own output is the map times the values, in double precision; without its mask or its scale it is not."""
    calls = []
    with AttentionCalls(model.vit, lambda call: (calls.append(call), call.run(call.value))[1]), torch.inference_mode():
        model.vit.module(model.batch[:1])
    found = trace(model.vit, model.batch[0])
    assert found.attention.shape == (3, 2, *2 * [found.prefix + found.grid[0] * found.grid[1]])
    for attention, call in zip(found.attention, calls, strict=False):
        scores = call.query.double() @ call.key.double().mT / call.query.shape[-1] ** 0.5
        expected = (scores if call.mask is None else scores + call.mask).softmax(-1)[0]
        assert torch.allclose(attention.double(), expected, atol=1e-6, rtol=0)
        assert torch.allclose(attention @ call.value[0], call.run(call.value)[0], atol=1e-5)
    assert (calls[0].mask is not None) == (model.family in MASKED)


def test_gradients_are_timms_unfused(model, engine):
    maps = []
    drops = [next(part.attn_drop for part in block.modules() if hasattr(part, "attn_drop")) for block in model.unfused.blocks]

    def gradients() -> torch.Tensor:
        handles = [drop.register_forward_hook(lambda module, inputs, output: maps.append(output)) for drop in drops]
        with torch.enable_grad():
            logits = model.unfused(model.batch[:1].clone().requires_grad_())
        for handle in handles:
            handle.remove()
        return torch.cat(torch.autograd.grad(logits[0, 3], maps))

    expected = engine.run(gradients)  # by the same number of threads, which add in the same order
    assert torch.equal(attention_gradient(model.vit, engine, model.batch[0], 3, "plain"), expected)
    assert expected.abs().amax((2, 3)).min() > 0


def test_shares_and_votes_add_up_to_the_logit(model, engine):
    found, shares = trace(model.vit, model.batch[0]), fullgrad(model.vit, engine, model.batch[0], 3)
    logit = float(found.logits[3])
    assert shares.sums.tolist() == pytest.approx([logit] * len(shares.sums), abs=1e-5)
    votes = ledger(model.vit, engine, found, 3)
    assert votes.total == pytest.approx(logit, abs=1e-5)
    assert votes.heads.abs().min() > 1e-6


def test_tokens_are_timms_intermediates(model):
    found = trace(model.vit, model.batch[1])
    with torch.inference_mode():
        layers = model.timms_tokens()
    for tokens, expected in zip(found.tokens, layers, strict=False):
        assert torch.allclose(tokens, expected[1], atol=1e-5)
    assert found.tokens.shape[1] == found.prefix + found.grid[0] * found.grid[1]
    assert found.readout.sum() == pytest.approx(1)
    if model.family != "distilled" and model.vit.adapter.pool is None:  # what the readout weighs is what the head reads
        head = getattr(model.timms, "fc_norm", torch.nn.Identity())
        read = model.timms.forward_head(layers[-1], pre_logits=True)[1]
        assert torch.allclose(head(found.readout @ layers[-1][1]), read, atol=1e-5)


def test_embeddings(model):
    prefix, layers = model.timms.num_prefix_tokens, model.timms_tokens()
    with torch.inference_mode():
        logits, vectors = all_layers(model.vit)(model.batch)  # (images, layers + 1, pools, width)
        (patches,) = patches_after(model.vit, 2)(model.batch)
    assert torch.equal(logits, model.timms(model.batch))
    for at, tokens in enumerate(layers):
        assert torch.allclose(vectors[:, at, -1], tokens[:, prefix:].mean(1), atol=1e-6)
        assert vectors.shape[2] == 1 or torch.equal(vectors[:, at, 0], tokens[:, 0])
    assert vectors.shape[2] == (1 if model.family in WITHOUT_CLS else 2)
    assert torch.equal(patches.flatten(1, 2), layers[1][:, prefix:])


def test_head_ablation(model):
    """A head that is off is one whose map, in timm's unfused model, is 0."""
    off = [(1, 1), (3, 0)]
    handles = []
    for layer, head in off:
        drop = next(part.attn_drop for part in model.unfused.blocks[layer - 1].modules() if hasattr(part, "attn_drop"))
        keep = (torch.arange(2) != head)[:, None, None]
        handles.append(drop.register_forward_hook(lambda module, inputs, output, keep=keep: output * keep))
    with torch.inference_mode():
        expected = model.unfused(model.batch)
        for handle in handles:
            handle.remove()
        found = without_heads(model.vit, off).logits(model.batch)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, model.vit.logits(model.batch), atol=1e-3)


def test_copy_as_python(model, engine, tmp_path, monkeypatch):
    """The code runs with timm alone, and gives the map that was shown, with heads switched off; or a sentence says what to do instead."""
    monkeypatch.chdir(model.folder.parent)
    photo, off, vit = tmp_path / "photo.png", [(1, 1), (2, 0)], model.vit
    noise(80, 70).save(photo)
    ablated = without_heads(vit, off)
    tensor = vit.preprocessing(noise(80, 70))
    traced = trace(ablated, tensor)
    for question in (
        Question("cls", layer=2),
        Question("relevance", target=3),
        Question("votes", target=3),
        Question("fullgrad", target=3),
    ):
        if vit.adapter.pool is not None or question.method in LONG.get(model.family, ()):
            with pytest.raises(UserError, match="use “python -m vitdemo attention” for it"):
                snippet(question, traced, vit, vit.preprocessing, bundle=True)
            continue
        found: dict = {}
        try:
            exec(snippet(question, traced, vit, vit.preprocessing, photo=str(photo), bundle=True, off=off), found)
        finally:
            set_fused_attn(True)
        expected = heat(question, traced, ablated, engine, tensor)
        np.testing.assert_allclose(found["heat"], expected.numpy(), rtol=2e-4, atol=2e-6)
        assert expected.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unfreeze", "learning"),
    [("head", []), ("1", ["head", "block 3"]), ("all", ["head", "block 3", "block 2", "block 1", "embedding"])],
    ids=["head", "last block", "all"],
)
def test_fine_tune_one_epoch(model, unfreeze, learning, engine, tmp_path):
    paint(tmp_path / "classes", 6, 0)
    samples, notes, _ = place(find_items([tmp_path / "classes"]), tmp_path / "classes")
    recipe = Recipe(unfreeze=unfreeze, epochs=1, batch_size=4, accumulate=1)
    *_, report = finetune(opened(model.folder), engine, samples, recipe, tmp_path / "run", Settings(), notes)
    assert report["finished"]
    assert list(report["history"][-1]["rates"]) == learning
    tuned = opened(tmp_path / "run")
    assert [label.name for label in tuned.labels] == list(report["classes"])
    with torch.inference_mode():
        expected = timm.create_model(f"local-dir:{tmp_path / 'run'}", pretrained=True).eval()(model.batch)
        assert torch.equal(tuned.logits(model.batch), expected)
        assert not torch.equal(tuned.logits(model.batch), model.vit.logits(model.batch)[:, :3])


@pytest.mark.slow
def test_onnx_export(model, tmp_path):
    plan = Plan("onnx", extras=("features", "attention"))
    run = runtimes.open_model(formats.write(model.vit, plan, tmp_path), plan, formats.output_names(model.vit.labels, plan))
    for count in (1, 3):
        batch = model.batch[:1].repeat(count, 1, 1, 1)
        found = run(batch.numpy())
        with torch.inference_mode():
            logits, features = model.vit.logits_and_features(batch)
        np.testing.assert_allclose(found["logits"], logits, atol=1e-4)
        np.testing.assert_allclose(found["features"], features, atol=1e-4)
        np.testing.assert_allclose(found["attention"][0], trace(model.vit, batch[0]).attention, atol=1e-5)


def test_another_input_size(model):
    """timm's own model, built for that size, or a sentence where the positions fit one grid only."""
    size = 6 * model.vit.patch[1], 4 * model.vit.patch[0]
    batch = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    if model.family in MASKED:
        with pytest.raises(UserError, match="This model takes 64×64 pixels only"):
            trace(model.vit, batch[0])
        return
    found = trace(model.vit, batch[0])
    assert found.grid == (6, 4)
    with torch.inference_mode():
        if model.vit.adapter.fixed_size:
            timms = timm.create_model(f"local-dir:{model.folder}", pretrained=True, img_size=size).eval()
            assert torch.allclose(found.logits, timms(batch)[0], atol=1e-4)
        else:
            assert torch.equal(found.logits, model.timms(batch)[0])
