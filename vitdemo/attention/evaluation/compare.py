"""Which map to believe: every method beside random maps and the centre prior, on one photo or over many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from vitdemo.attention.evaluation.erasing import Erased, erase_all
from vitdemo.attention.evaluation.mosaics import check_grid, mosaic, quadruples, quarter
from vitdemo.attention.evaluation.table import CENTRE, RANDOM, Comparison
from vitdemo.attention.methods.faithfulness import agreement, centre_prior, random_heat
from vitdemo.attention.methods.gradients import check_target
from vitdemo.attention.question import OF_A_CLASS, Question, heat
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.vit import Vit

NAMED = {name: Question(name) for name in ("relevance", "votes", "fullgrad", "rollout", "gradient-rollout", "cls")}
ORDERS = 5  # random maps per photo
CONFIDENT = 0.5  # the probability from which on a photo without a known class may stand in a mosaic


@dataclass(frozen=True)
class Subject:
    """One photo of a comparison.

    Attributes:
        make: makes the model input, (3, height, width), when it is needed.
        shares: makes the share of each patch that the object's mask covers, (rows, columns), for a grid; None where there is no mask.
        label: the photo's class, where it is known.
    """

    make: Callable[[], torch.Tensor]
    shares: Callable[[tuple[int, int]], torch.Tensor] | None = None
    label: int | None = None


@dataclass(frozen=True)
class Step:
    """How far a comparison is, and what it has found so far."""

    done: int
    total: int
    comparison: Comparison


def compare_photo(
    vit: Vit, engine: Engine, subject: Subject, target: int | None = None, methods: Mapping[str, Question] = NAMED
) -> Iterator[Step]:
    """Compare the methods on one photo; a step for each map.

    Args:
        target: the class; by default the model's top class.

    Raises: UserError for a model without classes, or a class that it does not have.
    """
    comparison, tensor = Comparison(photos=1), subject.make()
    trace = run_trace(vit, engine, tensor)
    target = check_target(vit, int(trace.logits.argmax()) if target is None else target)
    methods = _usable(vit, engine, trace, tensor, target, methods, comparison)
    heats = _baselines(trace) | _heats(vit, engine, trace, tensor, target, methods)
    agreements = _agreements(heats, subject, trace)
    orders = []
    for done, (name, erased) in enumerate(erase_all(vit, engine, tensor, heats, target), 1):
        values = _values(erased) | agreements[name]
        if name.startswith(RANDOM):
            orders.append(values)
            if len(orders) == ORDERS:
                comparison.add_random(orders)
        else:
            comparison.add(name, values)
        yield Step(done, len(heats), comparison)


def compare_photos(
    vit: Vit,
    engine: Engine,
    subjects: Sequence[Subject],
    *,
    methods: Mapping[str, Question] = NAMED,
    erase: int = 48,
    mosaics: int = 25,
    orders: int = ORDERS,
) -> Iterator[Step]:
    """Compare the methods over photos; a step for each photo and each mosaic. The class is the model's top class for each photo.

    Args:
        erase: the number of photos that are erased, spread evenly over all; masks are used on all photos.
        mosaics: the number of mosaics, of photos that the model gets right or is confident of; none where these are of fewer than four
            classes.
        orders: random maps per photo.

    A photo that can't be read, and a method that the model does not allow, is left out and named.

    Raises: UserError for a model without classes, or mosaics on a patch grid that can't be cut into quarters.
    """
    check_target(vit, 0)
    if mosaics:
        check_grid(vit.adapter.grid(vit.preprocessing.size))
    comparison = Comparison()
    classes: list[int | None] = []
    count = min(erase, len(subjects))
    erased_photos = {round(number * (len(subjects) - 1) / max(1, count - 1)) for number in range(count)}
    total = len(subjects) + mosaics
    for index, subject in enumerate(subjects):
        try:
            tensor = subject.make()
        except UserError as error:
            comparison.left_out.append(str(error))
            classes.append(None)
            yield Step(index + 1, total, comparison)
            continue
        trace = run_trace(vit, engine, tensor)
        target = int(trace.logits.argmax())
        known = target == subject.label if subject.label is not None else float(trace.logits.softmax(-1).max()) > CONFIDENT
        classes.append(target if known else None)
        if comparison.photos == 0:
            methods = _usable(vit, engine, trace, tensor, target, methods, comparison)
        if index in erased_photos or subject.shares:
            heats = _baselines(trace, orders, seed=index) | _heats(vit, engine, trace, tensor, target, methods)
            values = _agreements(heats, subject, trace)
            if index in erased_photos:
                for name, erased in erase_all(vit, engine, tensor, heats, target):
                    values[name] |= _values(erased)
            _add(comparison, values)
        comparison.photos += 1
        yield Step(index + 1, total, comparison)
    chosen = quadruples(classes, mosaics)
    for number, members in enumerate(chosen, 1):
        for values in _mosaic(vit, engine, [subjects[each].make() for each in members], [classes[each] for each in members], methods):
            _add(comparison, values)
        comparison.mosaics += 1
        yield Step(len(subjects) + number, len(subjects) + len(chosen), comparison)


def _mosaic(
    vit: Vit, engine: Engine, tensors: list[torch.Tensor], classes: list[int | None], methods: Mapping[str, Question]
) -> Iterator[dict[str, dict[str, float]]]:
    """Each method's values for each of a mosaic's four classes."""
    tensor = mosaic(tensors)
    trace = run_trace(vit, engine, tensor)
    blind = {name: heat(question, trace, vit, engine, tensor) for name, question in methods.items() if question.method not in OF_A_CLASS}
    for place, target in enumerate(classes):
        assert target is not None  # quadruples leaves these out
        of_class = {name: question for name, question in methods.items() if question.method in OF_A_CLASS}
        heats = _baselines(trace, 1, seed=place) | blind | _heats(vit, engine, trace, tensor, target, of_class)
        found = {name: quarter(each, place) for name, each in heats.items()}
        yield {name: {"mosaic_mass": mass, "mosaic_hit": hit} for name, (mass, hit) in found.items()}


def _usable(
    vit: Vit, engine: Engine, trace: Trace, tensor: torch.Tensor, target: int, methods: Mapping[str, Question], comparison: Comparison
) -> dict[str, Question]:
    """The methods that this model allows; why it refuses the others is noted."""
    usable = {}
    for name, question in methods.items():
        try:
            heat(replace(question, target=target), trace, vit, engine, tensor)
        except UserError as error:
            comparison.refused.append(f"{name} is left out: {error}")
        else:
            usable[name] = question
    return usable


def _heats(vit: Vit, engine: Engine, trace: Trace, tensor: torch.Tensor, target: int, methods: Mapping[str, Question]) -> dict[str, Heat]:
    return {name: heat(replace(question, target=target), trace, vit, engine, tensor) for name, question in methods.items()}


def _baselines(trace: Trace, orders: int = ORDERS, seed: int = 0) -> dict[str, Heat]:
    random = {f"{RANDOM} {number}": random_heat(trace.grid, seed * orders + number) for number in range(orders)}
    return random | {CENTRE: centre_prior(trace.grid)}


def _agreements(heats: Mapping[str, Heat], subject: Subject, trace: Trace) -> dict[str, dict[str, float]]:
    """Each map's values beside the photo's mask; empty where there is none."""
    if subject.shares is None:
        return {name: {} for name in heats}
    shares = subject.shares(trace.grid)
    found = {name: agreement(each, shares) for name, each in heats.items()}
    return {name: {"hit": float(each.hit), "auc": each.auc, "iou": each.iou, "mass": each.mass} for name, each in found.items()}


def _values(erased: Erased) -> dict[str, float]:
    return {"deletion": erased.curve.deletion_area, "insertion": erased.curve.insertion_area, "saco": erased.saco}


def _add(comparison: Comparison, values: Mapping[str, dict[str, float]]) -> None:
    """Add one photo's values of all maps."""
    comparison.add_random([each for name, each in values.items() if name.startswith(RANDOM)])
    for name, each in values.items():
        if not name.startswith(RANDOM):
            comparison.add(name, each)
