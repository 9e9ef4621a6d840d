"""Does the map show what the model goes by? Patches are erased in the map's order, and the map is laid beside a mask of the thing.

Pets sit in the centre of their photos, so a centre prior and a random order belong beside every map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d
from torchvision.transforms.functional import gaussian_blur

from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

Fill = Literal["grey", "blur", "mean"]
FILLS: tuple[Fill, ...] = ("grey", "blur", "mean")
STEPS = 7  # 28 patches of 14×14 at a time
ERASE_BATCH = 16  # masked photos in one pass, so that other people's photos come in between


@dataclass(frozen=True)
class Curve:
    """A class's probability while patches go, or come, hottest first.

    Attributes:
        erased: how many patches are gone (or shown) at each point, from 0 to all.
        deletion, insertion: the probability at each point (Petsiuk et al., 2018, arXiv:1806.07421).
    """

    erased: tuple[int, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]

    @property
    def deletion_area(self) -> float:
        """0 … 1, lower is better: the probability falls as soon as the hottest patches go."""
        return self._area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """0 … 1, higher is better: the hottest patches are enough."""
        return self._area(self.insertion)

    def _area(self, probabilities: tuple[float, ...]) -> float:
        return float(np.trapezoid(probabilities, self.erased) / self.erased[-1])


@dataclass(frozen=True)
class MaskAgreement:
    """A map beside a mask.

    Attributes:
        hit: whether the hottest patch is more than half covered by the mask (the pointing game, Zhang et al., 2016, arXiv:1608.00507).
        overlap: intersection over union of the patches hotter than the map's mean and those more than half covered, 0 … 1.
        mass: the share of the map's heat that lies on the mask, 0 … 1; negative heat counts as none.
    """

    hit: bool
    overlap: float
    mass: float


def erase_curve(
    vit: Vit, engine: Engine, tensor: torch.Tensor, heat: Heat, target: int, *, fill: Fill = "grey", steps: int = STEPS
) -> Curve:
    """Delete and insert the patches of one photo in the order of its heat; one batch of masked photos for both.

    Args:
        tensor: the model input, (3, height, width).
        heat: (rows, columns); among equals the first in reading order goes first.
        target: the class whose probability is followed.
        fill: what an erased patch shows: mid grey, the photo blurred beyond recognition, or its mean colour.
        steps: how many points the curve has after the first.

    Raises: UserError for a fill that is none of ours or a number of steps that the patches don't allow.
    """
    if not 1 <= steps <= heat.numel():
        raise UserError(f"The curve can have from 1 to {heat.numel()} steps; {steps} were asked for.")
    order = heat.flatten().argsort(descending=True, stable=True)  # (P,)
    erased = [round(step * len(order) / steps) for step in range(steps + 1)]
    hidden = torch.zeros(len(erased), len(order), dtype=torch.bool)
    for row, count in zip(hidden, erased, strict=True):
        row[order[:count]] = True
    covers = torch.cat([hidden, ~hidden]).unflatten(1, heat.shape)  # (2 points, rows, columns)
    filled = filling(tensor, vit.preprocessing, fill)

    def look(part: torch.Tensor) -> list[float]:
        (logits,), _ = engine.forward(lambda images: (vit.logits(images),), cover(tensor, filled, part))
        return logits.softmax(-1)[:, target].tolist()

    probabilities = list(chain.from_iterable(engine.map(look, covers.split(ERASE_BATCH))))
    return Curve(tuple(erased), tuple(probabilities[: len(erased)]), tuple(probabilities[len(erased) :]))


def erase_curves(
    vit: Vit, engine: Engine, tensor: torch.Tensor, heats: Mapping[str, Heat], target: int, *, fill: Fill = "grey", steps: int = STEPS
) -> Iterator[tuple[str, Curve]]:
    """The curve of each named map, as it is ready. Arguments and errors as `erase_curve`."""
    for name, heat in heats.items():
        yield name, erase_curve(vit, engine, tensor, heat, target, fill=fill, steps=steps)


def filling(tensor: torch.Tensor, preprocessing: Preprocessing, fill: Fill) -> torch.Tensor:
    """What erased patches of a model input (3, height, width) show instead: the same shape.

    Raises: UserError for a fill that is none of ours.
    """
    if fill == "grey":
        mean, std = (torch.tensor(each)[:, None, None] for each in (preprocessing.mean, preprocessing.std))
        return ((0.5 - mean) / std).expand_as(tensor)
    if fill == "mean":
        return tensor.mean((1, 2), keepdim=True).expand_as(tensor)
    if fill == "blur":
        sigma = min(tensor.shape[1:]) / 16  # pixels
        reach = [min(2 * round(2 * sigma) + 1, side - 1 - side % 2) for side in (tensor.shape[2], tensor.shape[1])]  # odd, inside the photo
        return gaussian_blur(tensor, reach, [sigma, sigma])
    raise UserError(f"Patches can't be filled with “{fill}”: choose {', '.join(FILLS)}.")


def cover(tensor: torch.Tensor, filled: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """(photos, 3, height, width): the model input with the patches hidden, (photos, rows, columns) bool, that the filling shows through."""
    height, width = (side // count for side, count in zip(tensor.shape[1:], hidden.shape[1:], strict=True))
    pixels = hidden.repeat_interleave(height, 1).repeat_interleave(width, 2)  # (photos, height, width)
    return torch.where(pixels[:, None], filled, tensor)


def centre_prior(grid: tuple[int, int]) -> Heat:
    """A map that knows nothing of the photo but that things tend to be in the middle: how near it each patch lies, 0 … √2."""
    down, across = (torch.linspace(-1, 1, count) if count > 1 else torch.zeros(1) for count in grid)
    return 2**0.5 - torch.hypot(down[:, None], across)


def random_heat(grid: tuple[int, int], seed: int) -> Heat:
    """A map in random order; the same seed gives the same."""
    return torch.rand(grid, generator=torch.Generator().manual_seed(seed))


def mask_shares(mask: Image.Image, preprocessing: Preprocessing, grid: tuple[int, int]) -> torch.Tensor:
    """(rows, columns), 0 … 1: how much of each patch a mask covers, resized bilinearly and cropped as its photo is.

    Args:
        mask: of the upright photo's size, white where the thing is.
    """
    same_way = replace(preprocessing, interpolation="bilinear", mean=(0.0, 0.0, 0.0))  # padding is no part of the thing
    pixels = torch.from_numpy(np.asarray(same_way.crop(mask.convert("RGB")))[..., 0] / np.float32(255))  # (height, width)
    return avg_pool2d(pixels[None], [side // count for side, count in zip(pixels.shape, grid, strict=True)])[0]


def agreement(heat: Heat, shares: torch.Tensor) -> MaskAgreement:
    """How well a map fits a mask, given the share of each patch that the mask covers; both (rows, columns)."""
    hot, covered, mass = heat > heat.mean(), shares > 0.5, heat.clamp(min=0)
    either, total = int((hot | covered).sum()), float(mass.sum())
    return MaskAgreement(
        hit=bool(covered.flatten()[heat.argmax()]),
        overlap=int((hot & covered).sum()) / either if either else 0.0,
        mass=float((mass * shares).sum()) / total if total else 0.0,
    )
