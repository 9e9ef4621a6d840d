"""Hooks leave nothing behind, and threads that share a model do not see each other."""

import threading

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.core.inference.module_hooks import hooked
from vitdemo.core.inference.trace import trace


def hooks_on(module: torch.nn.Module) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) + len(each._backward_hooks) for each in module.modules())


def test_what_a_hook_returns_takes_the_outputs_place():
    layer, seen = torch.nn.Linear(2, 2), []
    plain = layer(torch.ones(2))
    with hooked([(layer, seen.append)]):
        assert torch.equal(layer(torch.ones(2)), plain)
    with hooked([(layer, lambda output: output * 2), (layer, seen.append)]):
        assert torch.equal(layer(torch.ones(2)), plain * 2)
    assert torch.equal(torch.stack(seen), torch.stack([plain, plain * 2]))
    assert torch.equal(layer(torch.ones(2)), plain)


def test_hooks_within_hooks():
    layer = torch.nn.Linear(2, 2)
    plain = layer(torch.ones(2))
    with hooked([(layer, lambda output: output * 2)]):
        with hooked([(layer, lambda output: output + 1)]):
            assert torch.equal(layer(torch.ones(2)), plain * 2 + 1)
        assert torch.equal(layer(torch.ones(2)), plain * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_leaves_nothing_behind(kind):
    vit = small_vit(kind)
    trace(vit, images(1, *size_of(kind, 2, 3))[0])
    assert hooks_on(vit.module) == 0


def test_hooks_go_after_a_fault():
    vit = small_vit()
    with pytest.raises(RuntimeError):
        trace(vit, images()[0, :2])
    with pytest.raises(ZeroDivisionError), hooked([(vit.module.blocks[0], lambda output: None)]):
        raise ZeroDivisionError
    assert hooks_on(vit.module) == 0


def test_threads_that_share_a_model_do_not_see_each_other():
    vit = small_vit()
    batches = [images(1, seed=seed) for seed in range(8)]
    expected = [trace(vit, batch[0]) for batch in batches]
    found: dict[int, object] = {}

    def work(index: int) -> None:
        for _ in range(5):
            if index % 2:
                with torch.inference_mode():
                    found[index] = vit.module(batches[index])
            else:
                found[index] = trace(vit, batches[index][0])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    for index, each in enumerate(expected):
        if index % 2:
            assert torch.equal(found[index][0], each.logits)
        else:
            assert torch.equal(found[index].attention, each.attention)
    assert hooks_on(vit.module) == 0
