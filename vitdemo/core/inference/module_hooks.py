"""Hooks on a model that threads share: each sees the passes of its own thread alone, and leaves nothing behind."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

Hook = Callable[[torch.Tensor], torch.Tensor | None]
_hooking = threading.RLock()  # one thread at a time; again in the same thread, so that an ablated model can be traced


@contextmanager
def hooked(hooks: Iterable[tuple[torch.nn.Module, Hook]]) -> Iterator[None]:
    """While the context is open, each module's output is shown to its hook; what a hook returns, if anything, takes the output's place."""
    thread = threading.get_ident()

    def guard(hook: Hook):
        return lambda module, inputs, output: hook(output) if threading.get_ident() == thread else None

    with _hooking:
        handles = []
        try:
            for module, hook in hooks:
                handles.append(module.register_forward_hook(guard(hook)))
            yield
        finally:
            for handle in handles:
                handle.remove()
