"""The known answers, computed with timm alone: the load bench compares the app's answers with them."""

import io
import zipfile
from dataclasses import dataclass
from typing import Any

from vitdemo.core.config import ASSETS

MODEL = ASSETS / "demo"
GALLERY, UNSEEN = ASSETS / "examples" / "gallery", ASSETS / "examples" / "unseen"
PHOTOS = 100  # of the gallery
CLOSE = 1e-4  # largest difference of a probability, and of a heat map's patch


@dataclass(frozen=True)
class Known:
    """Photos to send, and the known answers.

    Attributes:
        photos: name → bytes.
        labels: the model's classes.
        probabilities: name → probability of each class.
        heats: name → rows of attention rollout on the patch grid.
    """

    photos: dict[str, bytes]
    labels: list[str]
    probabilities: dict[str, list[float]]
    heats: dict[str, list[list[float]]]

    def classified(self, name: str, predictions: list[dict]) -> bool:
        """Return whether these predictions are right for the photo, and begin with its top-1 class."""
        truth = self.probabilities[name]
        close = all(abs(row["probability"] - truth[self.labels.index(row["label"])]) <= CLOSE for row in predictions)
        return bool(predictions) and close and predictions[0]["label"] == self.labels[max(range(len(truth)), key=truth.__getitem__)]

    def looked(self, name: str, heat: list[list[float]]) -> bool:
        """Return whether this heat map is the photo's attention rollout."""
        pairs = [pair for rows in zip(heat, self.heats[name], strict=True) for pair in zip(*rows, strict=True)]
        return all(abs(one - other) <= CLOSE for one, other in pairs)


def known() -> Known:
    """Compute the answers to the bundled drawings with timm."""
    import timm
    import torch
    from PIL import Image

    model: Any = timm.create_model(f"local-dir:{MODEL}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    paths = sorted(GALLERY.glob("*/*.jpg"))[:PHOTOS]
    inputs = {path.relative_to(GALLERY).as_posix(): transform(Image.open(path).convert("RGB")) for path in paths}
    with torch.inference_mode():
        probabilities = {name: model(tensor[None]).softmax(-1)[0].tolist() for name, tensor in inputs.items()}
        heats = {name: _rollout(model, tensor).tolist() for name, tensor in list(inputs.items())[::10]}
    return Known({name: (GALLERY / name).read_bytes() for name in inputs}, list(model.pretrained_cfg["label_names"]), probabilities, heats)


def zipped(photos: dict[str, bytes]) -> bytes:
    """Return a zip of the photos, each under its name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in photos.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unseen() -> dict[str, bytes]:
    """Return drawings of three classes that the model does not know, to fine-tune on."""
    return {path.relative_to(UNSEEN).as_posix(): path.read_bytes() for path in sorted(UNSEEN.glob("*/*"))}


def _rollout(model, tensor):
    """Compute attention rollout by its formula, from the attention of every block: (rows, columns)."""
    import torch

    attentions = []
    for block in model.blocks:
        block.attn.fused_attn = False
    hooks = [block.attn.attn_drop.register_forward_hook(lambda _, inputs, output: attentions.append(output[0])) for block in model.blocks]
    model(tensor[None])
    for hook in hooks:
        hook.remove()
    flow = torch.eye(attentions[0].shape[-1])
    for attention in attentions:  # (heads, tokens, tokens)
        step = attention.mean(0) + torch.eye(attention.shape[-1])
        flow = step / step.sum(-1, keepdim=True) @ flow
    side = round((flow.shape[0] - 1) ** 0.5)
    return flow[0, 1:].reshape(side, side)
