"""The erase test: does the answer fall when the map's hottest patches go, and faster than when any others do?"""

import threading
from typing import TYPE_CHECKING

from vitdemo.ui.attention_scenes import ErasingState, Scene, Scenes
from vitdemo.ui.guard import sentence

if TYPE_CHECKING:
    from vitdemo.attention.faithfulness import Curve

STEPS = 14  # points after the first: 14 patches of 14×14 at a time
SEED = 0
KEPT = 8  # erase tests kept for a scene


def erase(scenes: Scenes, asked: dict) -> dict:
    """Begin an erase test of the map on show; one that is at work for this scene gives way. `erased` tells how far it is."""
    from vitdemo.attention.question import Question

    scene = scenes.get(asked.get("scene"))
    question = Question.read(asked)
    with scene.lock:
        if scene.erasing:
            scene.erasing.stopping.set()
        state = scene.erasing = scene.curves.get(question) or ErasingState(question)
        state.stopping.clear()
        fresh = question not in scene.curves
        if fresh:
            scene.curves[question] = state
            for old in list(scene.curves)[:-KEPT]:
                del scene.curves[old]
    if fresh:
        threading.Thread(target=_work, args=(scenes, scene, state), name="erase", daemon=True).start()
    return {}


def erased(scenes: Scenes, asked: dict) -> dict:
    """How far the scene's erase test is: the curves so far, the orders in which patches go, and whether it is over."""
    scene = scenes.get(asked.get("scene"))
    state = scene.erasing
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


def _work(scenes: Scenes, scene: Scene, state: ErasingState) -> None:
    from dataclasses import replace

    from vitdemo.attention.faithfulness import centre_prior, erase_curves, random_heat
    from vitdemo.attention.gradients import check_target

    try:
        vit = scenes.vit(scene)
        trace = scenes.trace(scene, vit)
        state.target = check_target(vit, int(trace.logits.argmax()) if state.question.target is None else state.question.target)
        heat = scenes.heats(scene, vit, state.question)[state.question.place(trace)]
        chance = random_heat(trace.grid, SEED)
        state.order, state.random = (each.flatten().argsort(descending=True, stable=True).tolist() for each in (heat, chance))
        named = {"map": heat, "random": chance, "centre": centre_prior(trace.grid)}
        seen = replace(vit, preprocessing=scene.preprocessing)  # grey is what this preprocessing makes of it
        steps = min(STEPS, heat.numel())
        for name, curve in erase_curves(seen, scenes.store.engine, scene.tensor, named, state.target, steps=steps):
            state.curves[name] = curve
            if state.stopping.is_set():
                break
    except Exception as error:
        state.error = sentence(error)
    if len(state.curves) < 3:
        with scene.lock:
            scene.curves.pop(state.question, None)
    state.over = True


def _row(curve: "Curve") -> dict:
    return {"erased": curve.erased, "deletion": curve.deletion, "area": curve.deletion_area}
