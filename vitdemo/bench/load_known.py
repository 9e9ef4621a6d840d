"""What the right answers are, from timm alone: the app under load is held against them."""

import io
import zipfile
from dataclasses import dataclass

from vitdemo.core.config import ASSETS

MODEL = ASSETS / "demo"
GALLERY, UNSEEN = ASSETS / "examples" / "gallery", ASSETS / "examples" / "unseen"
PHOTOS = 100  # of the gallery
CLOSE = 1e-4  # of a probability; a heat map's patch


@dataclass(frozen=True)
class Known:
    """Photos to ask about, and their answers.

    Attributes:
        photos: name → bytes.
        labels: the model's classes.
        probabilities: name → one number for each class.
        heats: name → rows of attention rollout on the patch grid.
    """

    photos: dict[str, bytes]
    labels: list[str]
    probabilities: dict[str, list[float]]
    heats: dict[str, list[list[float]]]

    def classified(self, name: str, predictions: list[dict]) -> bool:
        """Whether these are the photo's classes, best first."""
        truth = self.probabilities[name]
        close = all(abs(each["probability"] - truth[self.labels.index(each["label"])]) <= CLOSE for each in predictions)
        return bool(predictions) and close and predictions[0]["label"] == self.labels[max(range(len(truth)), key=truth.__getitem__)]

    def looked(self, name: str, heat: list[list[float]]) -> bool:
        """Whether this is the photo's attention rollout."""
        pairs = [pair for rows in zip(heat, self.heats[name], strict=True) for pair in zip(*rows, strict=True)]
        return all(abs(one - other) <= CLOSE for one, other in pairs)


def known() -> Known:
    """Ask timm about the bundled drawings."""
    import timm
    import torch
    from PIL import Image

    model = timm.create_model(f"local-dir:{MODEL}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    paths = sorted(GALLERY.glob("*/*.jpg"))[:PHOTOS]
    inputs = {path.relative_to(GALLERY).as_posix(): transform(Image.open(path).convert("RGB")) for path in paths}
    with torch.inference_mode():
        chances = {name: model(tensor[None]).softmax(-1)[0].tolist() for name, tensor in inputs.items()}
        heats = {name: _rollout(model, tensor).tolist() for name, tensor in list(inputs.items())[::10]}
    return Known({name: (GALLERY / name).read_bytes() for name in inputs}, list(model.pretrained_cfg["label_names"]), chances, heats)


def zipped(photos: dict[str, bytes]) -> bytes:
    """A zip of photos by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in photos.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unseen() -> dict[str, bytes]:
    """Drawings of three classes that the model does not know, to be learned."""
    return {path.relative_to(UNSEEN).as_posix(): path.read_bytes() for path in sorted(UNSEEN.glob("*/*"))}


def _rollout(model, tensor):
    """Attention rollout by its formula, from the softmax of every block: (rows, columns)."""
    import torch

    seen = []
    for block in model.blocks:
        block.attn.fused_attn = False
    hooks = [block.attn.attn_drop.register_forward_hook(lambda _, inputs, output: seen.append(output[0])) for block in model.blocks]
    model(tensor[None])
    for each in hooks:
        each.remove()
    flow = torch.eye(seen[0].shape[-1])
    for attention in seen:  # (heads, tokens, tokens)
        step = attention.mean(0) + torch.eye(attention.shape[-1])
        flow = step / step.sum(-1, keepdim=True) @ flow
    side = round((flow.shape[0] - 1) ** 0.5)
    return flow[0, 1:].reshape(side, side)
