"""The erase test as the page asks for it: curves, kept for the next time, and stopped by another question."""

import threading

import numpy as np
import pytest

from tests.support.waiting import until
from vitdemo.attention.methods import faithfulness
from vitdemo.attention.methods.faithfulness import Curve, centre_prior, erase_curve, random_heat
from vitdemo.attention.question import Question
from vitdemo.ui.tabs.attention import erase


@pytest.fixture
def quick(monkeypatch):
    """Curves that take no model: the maps asked for, each with a known curve; `go` lets the next one through."""

    class Quick:
        def __init__(self) -> None:
            self.asked, self.go, self.fault = [], threading.Semaphore(100), None

        def __call__(self, vit, engine, tensor, heats, target, *, steps):
            self.asked.append((list(heats), target, steps))
            for name in heats:
                self.go.acquire()
                if self.fault:
                    raise self.fault
                yield name, Curve((0, 8, 16), (1.0, 0.5, 0.0), (0.0, 0.5, 1.0))

    quick = Quick()
    monkeypatch.setattr(faithfulness, "erase_curves", quick)
    return quick


def wait(ask) -> dict:
    until(lambda: ask("erased")["over"])
    return ask("erased")


def test_the_curves_are_those_of_the_maps(ask, session, sessions, engine):
    vit = sessions.store.loading.vit
    assert ask("erased") == {
        "over": True,
        "done": 0,
        "curves": {},
        "conclusion": "",
        "error": "",
        "target": None,
        "order": None,
        "random": None,
    }
    assert ask("erase", question={"method": "cls", "layer": 2, "target": 3}) == {}
    told = wait(ask)
    heat = sessions.heats(session, vit, Question("cls"))[1]
    chance, centre = random_heat((14, 14), 0), centre_prior((14, 14))
    assert (told["target"], told["error"]) == (3, "")
    assert told["order"] == heat.flatten().argsort(descending=True, stable=True).tolist()
    assert told["random"] == chance.flatten().argsort(descending=True, stable=True).tolist()
    random = [erase_curve(vit, engine, session.tensor, random_heat((14, 14), seed), 3, steps=14) for seed in range(10)]
    ours, prior = (erase_curve(vit, engine, session.tensor, scores, 3, steps=14) for scores in (heat, centre))
    for name, curve in (("map", ours), ("centre", prior), ("random", random[0])):
        assert told["curves"][name]["erased"] == list(curve.erased)
        assert told["curves"][name]["deletion"] == pytest.approx(curve.deletion, abs=1e-5)
    areas, points = [curve.deletion_area for curve in random], np.array([curve.deletion for curve in random])
    assert told["curves"]["map"]["area"] == pytest.approx(ours.deletion_area, abs=1e-5)
    assert told["curves"]["random"]["area"] == pytest.approx(np.mean(areas), abs=1e-5)
    for name, expected in (("areas", areas), ("mean", points.mean(0)), ("low", points.min(0)), ("high", points.max(0))):
        assert told["curves"]["random"][name] == pytest.approx(list(expected), abs=1e-5)
    rows = told["curves"]
    assert told["conclusion"] == faithfulness.conclusion(rows["map"]["area"], rows["random"]["areas"], rows["centre"]["area"])
    assert told["done"] == 1


def test_the_reference_orders_are_erased_once_a_class(ask, session, quick):
    for layer, target in ((1, 3), (2, 3), (1, 4)):
        ask("erase", question={"layer": layer, "target": target})
        assert set(wait(ask)["curves"]) == {"map", "random", "centre"}
    everything = ["map", *erase.REFERENCES]
    assert [names for names, *_ in quick.asked] == [everything, ["map"], everything]


def test_without_a_class_it_is_the_top_one(ask, session, sessions, quick):
    ask("erase", question={"method": "rollout"})
    told = wait(ask)
    assert told["target"] == int(sessions.trace(session, sessions.store.loading.vit).logits.argmax())
    assert quick.asked == [(["map", *erase.REFERENCES], told["target"], 14)]
    assert told["curves"]["map"] == {"erased": [0, 8, 16], "deletion": [1.0, 0.5, 0.0], "area": 0.5}


def test_the_same_question_is_not_computed_twice(ask, session, quick, monkeypatch):
    monkeypatch.setattr(erase, "MAX_CURVES", 2)
    for layer in (1, 2, 1, 3):
        ask("erase", question={"layer": layer})
        wait(ask)
    assert len(quick.asked) == 3
    assert [question.layer for question in session.curves] == [2, 3]  # the oldest has gone


def test_a_new_question_stops_the_one_before(ask, session, quick):
    quick.go = threading.Semaphore(1)
    ask("erase", question={"layer": 1})
    first = session.erasing
    until(lambda: len(first.curves) == 1)
    so_far = ask("erased")
    assert (so_far["over"], list(so_far["curves"]), so_far["conclusion"], so_far["done"]) == (False, ["map"], "", 1 / 12)
    ask("erase", question={"layer": 2})
    quick.go.release(100)
    told = wait(ask)
    until(lambda: first.over)
    assert len(first.curves) == 2  # the curve under way is the last
    assert (len(told["curves"]), told["done"]) == (3, 1)
    assert [question.layer for question in session.curves] == [2]  # what is not complete is not kept


def test_stop_ends_it(ask, session, quick):
    quick.go = threading.Semaphore(1)
    ask("erase", question={"layer": 1})
    until(lambda: ask("erased")["curves"])
    assert not ask("erased", stop=True)["over"]
    quick.go.release(100)
    assert len(wait(ask)["curves"]) == 2
    assert session.curves == {}


def test_what_went_wrong_is_said_and_tried_again(ask, session, quick):
    ask("erase", question={"target": 99})
    assert "class" in wait(ask)["error"]
    assert session.curves == {}
    quick.fault = ValueError("a fault of ours")
    ask("erase", question={"layer": 1})
    assert "Something went wrong here" in wait(ask)["error"]
    quick.fault = None
    ask("erase", question={"layer": 1})
    told = wait(ask)
    assert (told["error"], len(told["curves"])) == ("", 3)
