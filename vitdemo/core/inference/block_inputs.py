"""The tokens that enter each block of a ViT, as the block itself gets them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from vitdemo.core.models.vit import Vit


@contextmanager
def block_inputs(vit: Vit, see: Callable[[int, torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """While the context is open, `see` gets the tokens that enter each block in this thread's passes of the model.

    Other threads that run the model meanwhile are not affected.

    Args:
        see: called with the block's number, from 0, and the tokens, (images, tokens, width). It may return tokens that take their place.
    """
    thread = threading.get_ident()

    def watch(number: int) -> Callable:
        def before(block, arguments):
            if threading.get_ident() == thread and (given := see(number, arguments[0])) is not None:
                return (given, *arguments[1:])
            return None

        return before

    handles = [block.register_forward_pre_hook(watch(number)) for number, block in enumerate(vit.adapter.blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
