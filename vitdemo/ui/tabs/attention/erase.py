"""The erase test: does the probability fall when the map's hottest patches are erased, and faster than in any other order?"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from vitdemo.ui.errors import user_message
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions, EraseTest

if TYPE_CHECKING:
    from vitdemo.attention.methods.faithfulness import Curve

ERASE_STEPS = 14  # points of a curve after the first: 14 of 14 × 14 patches are erased at a time
RANDOM_ORDERS = 10
MAX_CURVES = 8  # erase tests kept per session, and classes whose reference orders are kept
REFERENCES = (*(f"random {seed}" for seed in range(RANDOM_ORDERS)), "centre")


@dataclass
class EraseStatus:
    """How far an erase test is.

    Attributes:
        over: whether it has ended.
        done: the share of the test that is done, 0 … 1.
        curves: the curves so far: "map", "centre", and "random", the first random order with the `mean`, `low` and `high` of all so far.
        conclusion: what the curves say, in a sentence, once all are there.
        error: why it failed.
        target: the class whose probability is drawn.
        order, random: the patches in the map's order, and in the first random one.
    """

    over: bool = True
    done: float = 0
    curves: dict[str, dict] = field(default_factory=dict)
    conclusion: str = ""
    error: str = ""
    target: int | None = None
    order: list[int] | None = None
    random: list[int] | None = None


def erase(sessions: AttentionSessions, session: AttentionSession, asked: dict) -> None:
    """Start an erase test of a map, and stop the session's running test. `erased` reports the progress.

    Raises: UserError for an invalid question.
    """
    from vitdemo.attention.question import Question

    question = Question.parse(asked)
    with session.lock:
        if session.erasing:
            session.erasing.stopping.set()
        test = session.erasing = session.curves.get(question) or EraseTest(question)
        test.stopping.clear()
        fresh = question not in session.curves
        if fresh:
            session.curves[question] = test
            for old in list(session.curves)[:-MAX_CURVES]:
                del session.curves[old]
    if fresh:
        threading.Thread(target=_work, args=(sessions, session, test), name="erase", daemon=True).start()


def erased(session: AttentionSession, stop: bool) -> EraseStatus:
    """The progress of the session's erase test, which ends if `stop`."""
    test = session.erasing
    if test is None:
        return EraseStatus()
    if stop:
        test.stopping.set()
    over, done = test.over, dict(test.curves)  # in this order: what is over has all curves
    random = [done[name] for name in REFERENCES[:-1] if name in done]
    curves = {name: _row(curve) for name, curve in done.items() if name in ("map", "centre")}
    if random:
        curves["random"] = _row(random[0]) | _spread(random)
    return EraseStatus(over, len(done) / (1 + len(REFERENCES)), curves, _conclusion(done), test.error, test.target, test.order, test.random)


def _work(sessions: AttentionSessions, session: AttentionSession, test: EraseTest) -> None:
    from dataclasses import replace

    from vitdemo.attention.methods.faithfulness import centre_prior, erase_curves, random_heat
    from vitdemo.attention.methods.gradients import check_target

    try:
        vit = sessions.vit(session)
        trace = sessions.trace(session, vit)
        test.target = check_target(vit, int(trace.logits.argmax()) if test.question.target is None else test.question.target)
        heat = sessions.heats(session, vit, test.question)[test.question.place(trace)]
        heats = {
            "map": heat,
            **{f"random {seed}": random_heat(trace.grid, seed) for seed in range(RANDOM_ORDERS)},
            "centre": centre_prior(trace.grid),
        }
        test.order, test.random = (heats[name].flatten().argsort(descending=True, stable=True).tolist() for name in ("map", REFERENCES[0]))
        with session.lock:
            known = session.references.setdefault(test.target, {})
            while len(session.references) > MAX_CURVES:
                session.references.popitem(last=False)
        wanted = {name: scores for name, scores in heats.items() if name not in known}
        test.curves.update(known)
        adapted = replace(vit, preprocessing=session.preprocessing)  # erased patches are grey, as this preprocessing encodes grey
        steps = min(ERASE_STEPS, heat.numel())
        for name, curve in erase_curves(adapted, sessions.store.engine, session.tensor, wanted, test.target, steps=steps):
            test.curves[name] = curve
            if name != "map":
                known[name] = curve
            if test.stopping.is_set():
                break
    except Exception as error:
        test.error = user_message(error)
    if len(test.curves) <= len(REFERENCES):
        with session.lock:
            session.curves.pop(test.question, None)
    test.over = True


def _row(curve: "Curve") -> dict:
    return {"erased": curve.erased, "deletion": curve.deletion, "area": curve.deletion_area}


def _spread(curves: "Sequence[Curve]") -> dict:
    """Mean, lowest and highest of several curves at each point, and of their areas."""
    points, areas = list(zip(*(curve.deletion for curve in curves), strict=True)), [curve.deletion_area for curve in curves]
    means = [fmean(point) for point in points]
    return {"mean": means, "low": [*map(min, points)], "high": [*map(max, points)], "areas": areas, "area": fmean(areas)}


def _conclusion(curves: "Mapping[str, Curve]") -> str:
    from vitdemo.attention.methods.faithfulness import conclusion

    if len(curves) <= len(REFERENCES):
        return ""
    random = [curves[name].deletion_area for name in REFERENCES[:-1]]
    return conclusion(curves["map"].deletion_area, random, curves["centre"].deletion_area)
