"""Cache keys for a photo's vectors and predictions, so that cached results are used only for the same model and preprocessing."""

import hashlib
import weakref
from dataclasses import astuple

import torch

from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

FORMAT = 2  # grows when the same file and preprocessing give the model other pixels than before
_fingerprints: "weakref.WeakKeyDictionary[Vit, bytes]" = weakref.WeakKeyDictionary()


def key_of(vit: Vit, preprocessing: Preprocessing, draft: bool = False) -> str:
    """Return a cache key for everything but the photo that its vectors and predictions depend on.

    Args:
        draft: whether large JPEGs are decoded at a fraction of their size.
    """
    refusing = [vit.ood.limit] if vit.ood and vit.ood.refuses else []
    parts = (FORMAT, fingerprint(vit).hex(), astuple(preprocessing), vit.precision, *(["draft"] if draft else []), *refusing)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def fingerprint(vit: Vit) -> bytes:
    """Return the sha256 of a model's architecture and weights. A model is hashed once, which takes a moment for a large model."""
    if vit not in _fingerprints:
        module, digest = vit.module, hashlib.sha256()
        heads = [vit.adapter.heads] * vit.adapter.layers
        digest.update(repr((module, heads, module.global_pool, len(vit.labels))).encode())
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        _fingerprints[vit] = digest.digest()
    return _fingerprints[vit]
