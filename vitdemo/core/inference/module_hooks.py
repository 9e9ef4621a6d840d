"""Forward hooks on a model that threads share: a hook sees only the passes of its own thread, and is removed afterwards."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

Hook = Callable[[torch.Tensor], torch.Tensor | None]
_hooking = threading.RLock()  # one thread at a time; reentrant, so that a model with ablation hooks can be traced


@contextmanager
def hooked(hooks: Iterable[tuple[torch.nn.Module, Hook]]) -> Iterator[None]:
    """Call each hook with its module's output while the context is open. A value that the hook returns replaces the output."""
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
