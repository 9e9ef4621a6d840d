"""What enters a block is seen as it is, in this thread alone, and can be replaced."""

import threading

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.core.inference.block_inputs import block_inputs


@pytest.mark.parametrize("kind", KINDS)
def test_each_block_gets_what_the_one_before_gave(kind):
    vit, batch, seen = small_vit(kind), images(2, *size_of(kind, 3, 4)), {}
    with torch.inference_mode(), block_inputs(vit, lambda number, tokens: seen.update({number: tokens})):
        expected = vit.module(batch)
        _, outputs = vit.adapter.intermediates(batch)
    assert list(seen) == [0, 1, 2]
    assert torch.equal(seen[1], outputs[0])
    assert torch.equal(seen[2], outputs[1])
    with torch.inference_mode():
        assert torch.equal(vit.module(batch), expected)
    assert not any(block._forward_pre_hooks for block in vit.module.blocks)


def test_tokens_can_be_replaced():
    vit, batch = small_vit(), images(2)
    with torch.inference_mode():
        expected = vit.module(batch)[[1, 0]]
        with block_inputs(vit, lambda number, tokens: tokens[[1, 0]] if number == 1 else None):
            assert torch.equal(vit.module(batch), expected)


def test_other_threads_are_left_alone():
    vit, seen = small_vit(), []
    with block_inputs(vit, lambda number, tokens: seen.append(number)):
        other = threading.Thread(target=vit.module, args=(images(),))
        other.start()
        other.join()
    assert not seen
