"""Faithfulness: does an attention map show what the model relies on? Erase patches in the map's order, or compare the map with a mask.

Pets usually sit in the centre of their photos, so compare every map with a centre prior and a random map as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
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
STEPS = 7  # each step erases 28 patches of a 14×14 grid
ERASE_BATCH = 16  # masked photos per forward pass; between two passes other requests get the model


@dataclass(frozen=True)
class Curve:
    """A class's probability while patches are erased, or revealed, hottest first.

    Attributes:
        erased: how many patches are erased (or revealed) at each point, from 0 to all.
        deletion, insertion: the probability with those patches erased, or only those shown (Petsiuk et al., 2018, arXiv:1806.07421).
            `erase_curves` leaves insertion empty.
    """

    erased: tuple[int, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve, 0 … 1. Lower is better: the probability falls as soon as the hottest patches are erased."""
        return self._area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve, 0 … 1. Higher is better: the hottest patches are enough for the class."""
        return self._area(self.insertion)

    def _area(self, probabilities: tuple[float, ...]) -> float:
        return float(np.trapezoid(probabilities, self.erased) / self.erased[-1])


@dataclass(frozen=True)
class MaskAgreement:
    """How well a map fits a mask of the object.

    Attributes:
        hit: whether the hottest patch is more than half covered by the mask (the pointing game, Zhang et al., 2016, arXiv:1608.00507).
        overlap: intersection over union of the patches hotter than the map's mean and the patches more than half covered, 0 … 1.
        mass: the share of the map's heat that lies on the mask, 0 … 1; negative heat counts as none.
        auc: how well the heat ranks the patches more than half covered above the others: 0.5 is chance; NaN where there is one kind alone.
        iou: intersection over union of the hottest patches and the patches more than half covered, at the map's best threshold, 0 … 1.
    """

    hit: bool
    overlap: float
    mass: float
    auc: float
    iou: float


def erase_curve(
    vit: Vit, engine: Engine, tensor: torch.Tensor, heat: Heat, target: int, *, fill: Fill = "grey", steps: int = STEPS
) -> Curve:
    """Erase and reveal the patches of one photo, hottest first, and follow the probability of one class.

    Args:
        tensor: the model input, (3, height, width).
        heat: (rows, columns); equally hot patches are taken in reading order.
        target: the index of the class.
        fill: what an erased patch shows: mid grey, the photo blurred beyond recognition, or the photo's mean colour.
        steps: how many points the curve has after the first.

    Raises: UserError for an unknown fill, or a number of steps below 1 or above the number of patches.
    """
    erased, hidden = hidden_by_step(heat, steps)
    masks = torch.cat([hidden, ~hidden])  # (2 points, rows, columns)
    probabilities_of = probabilities_without(vit, engine, tensor, target, fill)
    probabilities: list[float] = list(chain.from_iterable(engine.map(probabilities_of, masks.split(ERASE_BATCH))))
    return Curve(erased, tuple(probabilities[: len(erased)]), tuple(probabilities[len(erased) :]))


def erase_curves(
    vit: Vit, engine: Engine, tensor: torch.Tensor, heats: Mapping[str, Heat], target: int, *, fill: Fill = "grey", steps: int = STEPS
) -> Iterator[tuple[str, Curve]]:
    """Erase patches in the order of several named maps, and yield each map's deletion curve as soon as it is ready.

    Arguments and errors as `erase_curve`.
    """
    orders = {name: hidden_by_step(heat, steps) for name, heat in heats.items()}
    batches = (batch for _, hidden in orders.values() for batch in hidden.split(ERASE_BATCH))
    probabilities = chain.from_iterable(engine.map(probabilities_without(vit, engine, tensor, target, fill), batches))
    for name, (erased, _) in orders.items():
        yield name, Curve(erased, tuple(islice(probabilities, len(erased))), ())


def conclusion(area: float, random: Sequence[float], centre: float) -> str:
    """Say in a sentence whether a map beats chance and a centre prior; a difference within the spread of the random orders counts as none.

    Args:
        area: `deletion_area` of the map; `random`, of several random orders; `centre`, of `centre_prior`.
    """
    low, high = min(random), max(random)
    orders = f"{len(random)} random orders: {low:.3f} to {high:.3f}"
    if low <= area <= high:
        chance = f"no sooner than by chance (area {area:.3f}, within the spread of {orders})"
    else:
        chance = f"{'sooner' if area < low else 'later'} than by chance (area {area:.3f}; {orders})"
    if abs(area - centre) <= high - low:
        prior = f"; the difference to centre first ({centre:.3f}) lies within the spread of the random orders"
    else:
        prior = f"; {'sooner' if area < centre else 'later'} than centre first ({centre:.3f})"
    return f"The probability falls {chance}{prior}."


def hidden_by_step(heat: Heat, steps: int) -> tuple[tuple[int, ...], torch.Tensor]:
    """How many patches are erased at each point, hottest first, and which, (points, rows, columns) bool.

    Raises: UserError for a number of steps below 1 or above the number of patches.
    """
    if not 1 <= steps <= heat.numel():
        raise UserError(f"The curve can have from 1 to {heat.numel()} steps; {steps} were asked for.")
    order = heat.flatten().argsort(descending=True, stable=True)  # (P,)
    erased = tuple(round(step * len(order) / steps) for step in range(steps + 1))
    hidden = torch.zeros(len(erased), len(order), dtype=torch.bool)
    for row, count in zip(hidden, erased, strict=True):
        row[order[:count]] = True
    return erased, hidden.unflatten(1, heat.shape)


def probabilities_without(vit: Vit, engine: Engine, tensor: torch.Tensor, target: int, fill: Fill) -> Callable[[torch.Tensor], list[float]]:
    """A function from masks, (photos, rows, columns) bool, to the class's probability without those patches."""
    filled = filling(tensor, vit.preprocessing, fill)

    def probabilities_of(batch: torch.Tensor) -> list[float]:
        (logits,), _ = engine.forward(lambda images: (vit.logits(images),), cover(tensor, filled, batch))
        return logits.softmax(-1)[:, target].tolist()

    return probabilities_of


def filling(tensor: torch.Tensor, preprocessing: Preprocessing, fill: Fill) -> torch.Tensor:
    """The image that erased patches of a model input, (3, height, width), show instead; the same shape.

    Raises: UserError for a fill that is not in FILLS.
    """
    if fill == "grey":
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        return ((0.5 - mean) / std).expand_as(tensor)
    if fill == "mean":
        return tensor.mean((1, 2), keepdim=True).expand_as(tensor)
    if fill == "blur":
        sigma = min(tensor.shape[1:]) / 16  # pixels
        kernel = [min(2 * round(2 * sigma) + 1, side - 1 - side % 2) for side in (tensor.shape[2], tensor.shape[1])]  # odd, below the side
        return gaussian_blur(tensor, kernel, [sigma, sigma])
    raise UserError(f"Patches can't be filled with “{fill}”: choose {', '.join(FILLS)}.")


def cover(tensor: torch.Tensor, filled: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Replace the hidden patches, (photos, rows, columns) bool, of a model input by the filling: (photos, 3, height, width)."""
    height, width = (side // count for side, count in zip(tensor.shape[1:], hidden.shape[1:], strict=True))
    pixels = hidden.repeat_interleave(height, 1).repeat_interleave(width, 2)  # (photos, height, width)
    return torch.where(pixels[:, None], filled, tensor)


def centre_prior(grid: tuple[int, int]) -> Heat:
    """A baseline map that ignores the photo: hottest in the centre, √2, and falling with the distance from the centre to 0."""
    down, across = (torch.linspace(-1, 1, count) if count > 1 else torch.zeros(1) for count in grid)
    return 2**0.5 - torch.hypot(down[:, None], across)


def random_heat(grid: tuple[int, int], seed: int) -> Heat:
    """A baseline map of random numbers; the same seed gives the same map."""
    return torch.rand(grid, generator=torch.Generator().manual_seed(seed))


def mask_shares(mask: Image.Image, preprocessing: Preprocessing, grid: tuple[int, int]) -> torch.Tensor:
    """The share of each patch that a mask covers, (rows, columns), 0 … 1. The mask is resized bilinearly and cropped like its photo.

    Args:
        mask: as large as the upright photo, white where the object is.
    """
    # a mean of 0 makes the padding black, so that padding is not part of the object
    mask_preprocessing = replace(preprocessing, interpolation="bilinear", mean=(0.0, 0.0, 0.0), icc="ignore")
    pixels = torch.from_numpy(np.asarray(mask_preprocessing.crop(mask.convert("RGB")))[..., 0] / np.float32(255))  # (height, width)
    return avg_pool2d(pixels[None], [side // count for side, count in zip(pixels.shape, grid, strict=True)])[0]


def agreement(heat: Heat, shares: torch.Tensor) -> MaskAgreement:
    """Compare a map with a mask, given as the share of each patch that the mask covers; both (rows, columns)."""
    hot, covered, mass = heat > heat.mean(), shares > 0.5, heat.clamp(min=0)
    union, total = int((hot | covered).sum()), float(mass.sum())
    return MaskAgreement(
        hit=bool(covered.flatten()[heat.argmax()]),
        overlap=int((hot & covered).sum()) / union if union else 0.0,
        mass=float((mass * shares).sum()) / total if total else 0.0,
        auc=_auc(heat[covered], heat[~covered]),
        iou=_best_iou(heat.flatten(), covered.flatten()),
    )


def _auc(inside: torch.Tensor, outside: torch.Tensor) -> float:
    """The probability that a patch inside is hotter than one outside; equally hot patches count half."""
    if not len(inside) or not len(outside):
        return float("nan")
    above = (inside[:, None] > outside).double() + (inside[:, None] == outside).double() / 2
    return float(above.mean())


def _best_iou(heat: torch.Tensor, covered: torch.Tensor) -> float:
    hits = covered[heat.argsort(descending=True, stable=True)].cumsum(0)
    taken = torch.arange(1, len(heat) + 1)
    return float((hits / (taken + covered.sum() - hits)).max())
