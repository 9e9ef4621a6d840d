"""What erasing says of a map: deletion and insertion areas, and SaCo (Wu et al., 2024, arXiv:2404.01415), in few passes for many maps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch

from vitdemo.attention.methods.faithfulness import ERASE_BATCH, STEPS, Curve, hidden_by_step, probabilities_without
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat
from vitdemo.core.models.vit import Vit

GROUPS = 10


@dataclass(frozen=True)
class Erased:
    """What erasing a photo's patches in a map's order does to a class's probability.

    Attributes:
        curve: deletion and insertion.
        saco: from −1 to 1; NaN for a constant map, which has no value.
    """

    curve: Curve
    saco: float


def erase_all(vit: Vit, engine: Engine, tensor: torch.Tensor, heats: Mapping[str, Heat], target: int) -> Iterator[tuple[str, Erased]]:
    """Erase the patches of one photo by several named maps, and yield what each one does as soon as it is known.

    Args:
        tensor: the model input, (3, height, width).
        target: the index of the class.
    """
    grid = next(iter(heats.values())).shape
    steps = min(STEPS, grid.numel())
    ends = torch.stack((torch.zeros(grid, dtype=torch.bool), torch.ones(grid, dtype=torch.bool)))  # nothing and everything erased
    plans = {}
    for name, heat in heats.items():
        erased, hidden = hidden_by_step(heat, steps)
        plans[name] = erased, groups_of(heat), torch.cat((hidden[1:-1], ~hidden[1:-1]))
    masks = chain([ends], *([inner, groups] for _, groups, inner in plans.values()))
    batches = chain.from_iterable(mask.split(ERASE_BATCH) for mask in masks)
    answers = chain.from_iterable(engine.map(probabilities_without(vit, engine, tensor, target, "grey"), batches))
    whole, nothing = islice(answers, 2)
    for name, (erased, groups, inner) in plans.items():
        curves = list(islice(answers, len(inner)))
        half = len(inner) // 2
        curve = Curve(erased, (whole, *curves[:half], nothing), (nothing, *curves[half:], whole))
        falls = [whole - probability for probability in islice(answers, len(groups))]
        flat = heats[name].min() == heats[name].max()
        yield name, Erased(curve, float("nan") if flat else saco([float(heats[name][group].sum()) for group in groups], falls))


def groups_of(heat: Heat, count: int = GROUPS) -> torch.Tensor:
    """The patches sorted by heat and split into nearly equal groups, hottest first: (groups, rows, columns) bool."""
    order = heat.flatten().argsort(descending=True, stable=True)
    groups = torch.zeros(min(count, len(order)), len(order), dtype=torch.bool)
    for group, members in zip(groups, order.tensor_split(len(groups)), strict=True):
        group[members] = True
    return groups.unflatten(1, heat.shape)


def saco(heats: Sequence[float], falls: Sequence[float]) -> float:
    """Salience-guided faithfulness coefficient: do the hotter of two groups of patches make the probability fall further?

    Args:
        heats: the heat of each group, hottest first.
        falls: how far the probability falls when this group alone is erased.

    Returns: −1 … 1; NaN where all groups have the same heat.
    """
    agreed = total = 0.0
    for one in range(len(heats)):
        for other in range(one + 1, len(heats)):
            weight = heats[one] - heats[other]
            agreed += weight if falls[one] >= falls[other] else -weight
            total += abs(weight)
    return agreed / total if total else float("nan")
