"""A trace is the plain model's own numbers, with the attention that timm's unfused model shows, for every kind of plain ViT."""

import pytest
import timm
import torch
from PIL import Image

from tests.support.apps import TINY
from tests.support.small_vits import KINDS, PREFIX, images, in_precision, size_of, small_vit, timms_attention, unfused_vit
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import bytes_needed, check_room, trace, trace_batch
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.search import find_items


@pytest.mark.parametrize("grid", [(4, 4), (3, 6)], ids=["square", "wide"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_timms_own_numbers(kind, grid):
    vit, batch = small_vit(kind), images(2, *size_of(kind, *grid))
    traces = trace_batch(vit, batch)
    with torch.inference_mode():
        logits, features = vit.module(batch), vit.module.forward_head(vit.module.forward_features(batch), pre_logits=True)
        tokens = vit.module.forward_intermediates(batch, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True)
    attention = timms_attention(unfused_vit(kind), batch)
    for index, found in enumerate(traces):
        assert torch.equal(found.logits, logits[index])
        assert torch.equal(found.features, features[index])
        assert torch.allclose(found.attention, attention[:, index], atol=1e-6, rtol=0)
        assert (found.grid, found.prefix, found.has_cls) == (grid, PREFIX.get(kind, 1), "no CLS" not in kind and kind != "norms after")
        for layer, each in enumerate(tokens):
            expected = torch.cat(each[::-1], 1) if isinstance(each, tuple) else each  # timm gives prefix tokens apart
            assert torch.equal(found.tokens[layer], expected[index])


def test_real_photos(real_tiny, tiny_checkpoint, shared, engine):
    """Given what reached a layer, its attention is the unfused layer's to 1e-6. Over twelve layers the fused and the unfused kernels, each
    2e-6 to 3e-6 away from a double-precision run, part by up to 2.3e-6 (measured, on weights of 0.1 to 0.9)."""
    timm.layers.set_fused_attn(False)
    try:
        overlay = {"file": str(tiny_checkpoint), "custom_load": False}
        unfused = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    finally:
        timm.layers.set_fused_attn(True)
    for item in find_items([shared / "data" / "pets" / "images"])[::25]:
        tensor = real_tiny.preprocessing(Image.open(item.path).convert("RGB"))
        found = run_trace(real_tiny, engine, tensor)
        assert torch.equal(found.logits, engine.logits(real_tiny, tensor[None])[0][0])
        assert torch.allclose(found.attention, timms_attention(unfused, tensor[None])[:, 0], atol=1e-6, rtol=1e-5)
        for layer in range(1, 12):
            shown = []
            handle = unfused.blocks[layer].attn.attn_drop.register_forward_hook(lambda module, inputs, output, to=shown: to.append(output))
            with torch.inference_mode():
                unfused.blocks[layer](found.tokens[layer - 1][None])
            handle.remove()
            assert torch.allclose(found.attention[layer], shown[0][0], atol=1e-6, rtol=0)
        assert (found.attention.shape, found.tokens.shape) == ((12, 3, 197, 197), (12, 197, 192))


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_read_out_of_the_last_tokens(kind):
    vit = small_vit(kind)
    module, found = vit.module, trace(vit, images(1, *size_of(kind, 4, 4))[0])
    assert found.readout.sum() == pytest.approx(1)
    final = module.norm(found.tokens[-1])  # (N, width)
    if module.attn_pool is not None:
        pool = module.attn_pool
        queries = pool.q(pool.latent[0]).view(pool.latent_len, pool.num_heads, -1).transpose(0, 1)  # (H, latents, d)
        keys = pool.kv(final)[:, : module.embed_dim].view(len(final), pool.num_heads, -1).transpose(0, 1)  # (H, N, d)
        weights = (queries @ keys.transpose(-2, -1) / keys.shape[-1] ** 0.5).softmax(-1).mean((0, 1))
        assert torch.allclose(found.readout, weights, atol=1e-6)
    else:
        assert torch.allclose(found.readout @ final, module.pool(final[None])[0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_layer_by_what_enters_it(kind):
    """The embedding goes through timm's own first block to the first tokens, and attention · values is what the block's heads give."""
    vit, tensor, heads = small_vit(kind), images(1, *size_of(kind, 3, 5))[0], []
    found, block = trace(vit, tensor), vit.module.blocks[0]
    projection = getattr(block, "attn_out_proj", None) or block.attn.proj
    norm = getattr(getattr(block, "attn", None), "norm", torch.nn.Identity())
    projection.register_forward_hook(lambda module, inputs, output: heads.append(inputs[0][0]))
    with torch.inference_mode():
        assert torch.allclose(block(found.embedding[None])[0], found.tokens[0], atol=1e-5)
        assert torch.allclose(norm((found.attention[0] @ found.values[0]).transpose(0, 1).flatten(1)), heads[0], atol=1e-5)


def test_a_batch_is_its_photos():
    vit, batch = small_vit(), images(3)
    for index, found in enumerate(trace_batch(vit, batch)):
        alone = trace(vit, batch[index])
        assert torch.allclose(found.attention, alone.attention, atol=1e-6)
        assert torch.allclose(found.logits, alone.logits, atol=1e-5)
        for name in ("attention", "values", "embedding", "tokens"):
            assert torch.allclose(getattr(found, name), getattr(alone, name), atol=1e-5)
            assert getattr(found, name).untyped_storage().nbytes() == getattr(alone, name).untyped_storage().nbytes()


def test_to_grid():
    found = trace(small_vit("registers"), images(1, 70, 42)[0])
    rows, columns = found.grid
    cells = found.to_grid(torch.arange(found.attention.shape[-1]))
    assert cells.shape == (rows, columns) == (5, 3)
    assert cells[2, 1] == 5 + 2 * columns + 1


def test_traces_may_be_used_under_autograd(engine):
    found = run_trace(small_vit(), engine, images()[0])
    weights = torch.ones(found.attention.shape[0], requires_grad=True)
    (found.attention.mean((1, 2, 3)) * weights).sum().backward()
    assert not any(
        each.is_inference() for each in (found.logits, found.features, found.attention, found.values, found.embedding, found.tokens)
    )


def test_reduced_precision_keeps_the_plain_logits():
    vit, batch = in_precision(small_vit(), "bf16"), images()
    with torch.inference_mode():
        logits, found = vit.module(batch), trace(vit, batch[0])
    assert torch.equal(found.logits, logits[0])
    assert found.attention.dtype == torch.float32
    assert torch.allclose(found.attention.sum(-1), torch.ones(1), atol=1e-6)
    assert torch.allclose(found.attention, timms_attention(unfused_vit(), batch)[:, 0], atol=0.05)


@pytest.mark.parametrize("name", ["vit_small_patch16_18x2_224", "vit_dwee_patch16_reg1_gap_256"])
def test_attention_that_is_not_one_map_per_head_is_refused(name):
    module = timm.create_model(name, dynamic_img_size=True, embed_dim=48, depth=2, num_heads=3, img_size=64).eval()
    plain = small_vit()
    vit = Vit(name, module, plain.labels, plain.preprocessing, "random", plain.device, 0)
    with pytest.raises(UserError) as refused:
        trace(vit, images()[0])
    assert str(refused.value) == f"The attention of {name} is not one map per layer and head, so it can't be shown: choose another model."


def test_bytes_are_known_beforehand():
    for kind in KINDS:
        vit, size = small_vit(kind), size_of(kind, 3, 6)
        found = trace(vit, images(1, *size)[0])
        assert bytes_needed(vit, size) == found.bytes - 4 * (found.logits.numel() + found.features.numel() + found.readout.numel())


def test_a_trace_larger_than_the_limit_is_refused():
    vit = small_vit()
    check_room(vit, (224, 224), 64)
    with pytest.raises(UserError) as refused:
        check_room(vit, (1024, 512), 64)  # 64·32 patches and CLS
    needed = 4 * 2049 * (3 * (3 * 2049 + 2 * 48) + 48) / 1e6
    assert f"at 512×1024 pixels takes {needed:,.0f} MB, and the limit is 64: choose a smaller image size or model" in str(refused.value)
    assert str(refused.value).endswith(f"start with --trace-cache-mb {int(needed) + 1}.")
    check_room(vit, (1024, 512), int(needed) + 1)
