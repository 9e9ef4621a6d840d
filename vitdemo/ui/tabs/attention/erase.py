"""The erase test: does the probability fall when the map's hottest patches are erased, and faster than in any other order?"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.ui.errors import user_message
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions, EraseTest

if TYPE_CHECKING:
    from vitdemo.attention.methods.faithfulness import Curve

ERASE_STEPS = 14  # points of a curve after the first: 14 of 14 × 14 patches are erased at a time
SEED = 0
MAX_CURVES = 8  # erase tests kept per session


@dataclass
class EraseStatus:
    """How far an erase test is.

    Attributes:
        over: whether it has ended.
        curves: the curves so far, by the order in which patches are erased.
        error: why it failed.
        target: the class whose probability is drawn.
        order, random: the patches in the map's order, and in a random one.
    """

    over: bool = True
    curves: dict[str, dict] = field(default_factory=dict)
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
    curves = {name: _row(curve) for name, curve in list(test.curves.items())}
    return EraseStatus(test.over, curves, test.error, test.target, test.order, test.random)


def _work(sessions: AttentionSessions, session: AttentionSession, test: EraseTest) -> None:
    from dataclasses import replace

    from vitdemo.attention.methods.faithfulness import centre_prior, erase_curves, random_heat
    from vitdemo.attention.methods.gradients import check_target

    try:
        vit = sessions.vit(session)
        trace = sessions.trace(session, vit)
        test.target = check_target(vit, int(trace.logits.argmax()) if test.question.target is None else test.question.target)
        heat = sessions.heats(session, vit, test.question)[test.question.place(trace)]
        random_scores = random_heat(trace.grid, SEED)
        test.order, test.random = (scores.flatten().argsort(descending=True, stable=True).tolist() for scores in (heat, random_scores))
        heats = {"map": heat, "random": random_scores, "centre": centre_prior(trace.grid)}
        adapted = replace(vit, preprocessing=session.preprocessing)  # erased patches are grey, as this preprocessing encodes grey
        steps = min(ERASE_STEPS, heat.numel())
        for name, curve in erase_curves(adapted, sessions.store.engine, session.tensor, heats, test.target, steps=steps):
            test.curves[name] = curve
            if test.stopping.is_set():
                break
    except Exception as error:
        test.error = user_message(error)
    if len(test.curves) < 3:
        with session.lock:
            session.curves.pop(test.question, None)
    test.over = True


def _row(curve: "Curve") -> dict:
    return {"erased": curve.erased, "deletion": curve.deletion, "area": curve.deletion_area}
