"""A name for everything that a photo's numbers depend on beside the photo, so that what was kept is used for the same model alone."""

import hashlib
import weakref
from dataclasses import astuple

from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

FORMAT = 1
_fingerprints: "weakref.WeakKeyDictionary[Vit, bytes]" = weakref.WeakKeyDictionary()


def key_of(vit: Vit, preprocessing: Preprocessing, precision: str) -> str:
    """A name for everything that a photo's vectors depend on beside the photo: architecture, weights, preprocessing, precision."""
    parts = (FORMAT, fingerprint(vit).hex(), astuple(preprocessing), precision)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def fingerprint(vit: Vit) -> bytes:
    """sha256 of a model's architecture and weights. It takes a moment for a large model, and once."""
    if vit not in _fingerprints:
        module, digest = vit.module, hashlib.sha256()
        heads = [getattr(getattr(block, "attn", block), "num_heads", None) for block in module.blocks]
        digest.update(repr((module, heads, module.global_pool, len(vit.labels))).encode())
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy())
        _fingerprints[vit] = digest.digest()
    return _fingerprints[vit]
