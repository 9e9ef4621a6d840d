"""The erase test: does the answer fall when the map's hottest patches go, and faster than when any others do?"""

import threading
from typing import TYPE_CHECKING

from vitdemo.ui.errors import user_message
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions, EraseTest

if TYPE_CHECKING:
    from vitdemo.attention.methods.faithfulness import Curve

ERASE_STEPS = 14  # points after the first: 14 patches of 14×14 at a time
SEED = 0
MAX_CURVES = 8  # erase tests kept for a scene


def erase(sessions: AttentionSessions, asked: dict) -> dict:
    """Begin an erase test of the map on show; one that is at work for this scene gives way. `erased` tells how far it is."""
    from vitdemo.attention.question import Question

    session = sessions.get(asked.get("scene"))
    question = Question.read(asked)
    with session.lock:
        if session.erasing:
            session.erasing.stopping.set()
        state = session.erasing = session.curves.get(question) or EraseTest(question)
        state.stopping.clear()
        fresh = question not in session.curves
        if fresh:
            session.curves[question] = state
            for old in list(session.curves)[:-MAX_CURVES]:
                del session.curves[old]
    if fresh:
        threading.Thread(target=_work, args=(sessions, session, state), name="erase", daemon=True).start()
    return {}


def erased(sessions: AttentionSessions, asked: dict) -> dict:
    """How far the scene's erase test is: the curves so far, the orders in which patches go, and whether it is over."""
    session = sessions.get(asked.get("scene"))
    state = session.erasing
    if asked.get("stop") and state:
        state.stopping.set()
    if state is None:
        return {"over": True, "curves": {}}
    return {
        "over": state.over,
        "error": state.error or None,
        "target": state.target,
        "order": state.order,
        "random": state.random,
        "curves": {name: _row(curve) for name, curve in list(state.curves.items())},
    }


def _work(sessions: AttentionSessions, session: AttentionSession, state: EraseTest) -> None:
    from dataclasses import replace

    from vitdemo.attention.methods.faithfulness import centre_prior, erase_curves, random_heat
    from vitdemo.attention.methods.gradients import check_target

    try:
        vit = sessions.vit(session)
        trace = sessions.trace(session, vit)
        state.target = check_target(vit, int(trace.logits.argmax()) if state.question.target is None else state.question.target)
        heat = sessions.heats(session, vit, state.question)[state.question.place(trace)]
        chance = random_heat(trace.grid, SEED)
        state.order, state.random = (each.flatten().argsort(descending=True, stable=True).tolist() for each in (heat, chance))
        named = {"map": heat, "random": chance, "centre": centre_prior(trace.grid)}
        seen = replace(vit, preprocessing=session.preprocessing)  # grey is what this preprocessing makes of it
        steps = min(ERASE_STEPS, heat.numel())
        for name, curve in erase_curves(seen, sessions.store.engine, session.tensor, named, state.target, steps=steps):
            state.curves[name] = curve
            if state.stopping.is_set():
                break
    except Exception as error:
        state.error = user_message(error)
    if len(state.curves) < 3:
        with session.lock:
            session.curves.pop(state.question, None)
    state.over = True


def _row(curve: "Curve") -> dict:
    return {"erased": curve.erased, "deletion": curve.deletion, "area": curve.deletion_area}
