"""Comparing methods: each value is the one that the metric gives alone, and the steps tell how far the comparison is."""

import dataclasses

import pytest
import torch

from tests.support.small_vits import images, small_vit
from vitdemo.attention.evaluation.compare import NAMED, ORDERS, Subject, compare_photo, compare_photos
from vitdemo.attention.evaluation.mosaics import mosaic, quadruples, quarter
from vitdemo.attention.methods.faithfulness import agreement, centre_prior, erase_curve, random_heat
from vitdemo.attention.question import Question, heat
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace_cache import run_trace

ROWS = {*NAMED, "random", "centre"}


def masked(grid: tuple[int, int]) -> torch.Tensor:
    shares = torch.zeros(grid)
    shares[1:3, 1:4] = 0.8
    return shares


def test_one_photo(engine):
    vit, tensor = small_vit(), images()[0]
    steps = list(compare_photo(vit, engine, Subject(lambda: tensor, masked), target=3))
    assert [(step.done, step.total) for step in steps] == [(done, ORDERS + 1 + len(NAMED)) for done in range(1, ORDERS + 2 + len(NAMED))]
    table, trace = steps[-1].comparison.table(), run_trace(vit, engine, tensor)
    assert set(table.rows) == ROWS
    for name, question in NAMED.items():
        map = heat(dataclasses.replace(question, target=3), trace, vit, engine, tensor)
        curve, fits = erase_curve(vit, engine, tensor, map, 3), agreement(map, masked(trace.grid))
        values = {metric: cell.value for metric, cell in table.rows[name].items()}
        assert values["deletion"] == pytest.approx(curve.deletion_area, abs=1e-6)
        assert values["insertion"] == pytest.approx(curve.insertion_area, abs=1e-6)
        assert {metric: values[metric] for metric in ("hit", "auc", "iou", "mass")} == pytest.approx(
            {"hit": float(fits.hit), "auc": fits.auc, "iou": fits.iou, "mass": fits.mass}
        )
        assert table.sentences[name].startswith("The probability falls ")
    areas = [erase_curve(vit, engine, tensor, random_heat((4, 4), seed), 3).deletion_area for seed in range(ORDERS)]
    assert table.rows["random"]["deletion"].value == pytest.approx(sum(areas) / ORDERS, abs=1e-6)
    centre = erase_curve(vit, engine, tensor, centre_prior((4, 4)), 3).deletion_area
    assert table.rows["centre"]["deletion"].value == pytest.approx(centre, abs=1e-6)


def test_the_top_class_is_meant_where_none_is_named(engine):
    vit, tensor = small_vit(), images()[0]
    top = int(vit.logits(tensor[None]).argmax())
    last = [list(compare_photo(vit, engine, Subject(lambda: tensor), target))[-1].comparison.table() for target in (None, top)]
    assert last[0] == last[1]
    assert "auc" not in last[0].rows["votes"]


def test_many_photos(engine):
    vit, batch = small_vit(), images(8, seed=3)
    vit.module.head.bias -= vit.logits(batch).mean(0)  # so that the photos are of several classes
    classes = vit.logits(batch).argmax(1).tolist()
    assert len(set(classes)) >= 4, "or there is no mosaic to test"
    subjects = [Subject(lambda each=each: each, masked if index < 6 else None, classes[index]) for index, each in enumerate(batch)]
    methods = {"votes": Question("votes"), "rollout": Question("rollout")}
    steps = list(compare_photos(vit, engine, subjects, methods=methods, erase=3, mosaics=4, orders=2))
    assert [(step.done, step.total) for step in steps] == [(done, 12) for done in range(1, 13)]
    found, table = steps[-1].comparison, steps[-1].comparison.table()
    assert (table.photos, table.erased, table.mosaics) == (8, 3, 4)
    assert set(table.rows) == {*methods, "random", "centre"}
    assert {metric: len(values) for metric, values in found.scores["votes"].items()} == {
        **dict.fromkeys(("hit", "auc", "iou", "mass"), 6),
        **dict.fromkeys(("deletion", "insertion", "saco"), 3),
        **dict.fromkeys(("mosaic_mass", "mosaic_hit"), 16),
    }
    for row, index in enumerate((0, 4, 7)):  # evenly spread; Python rounds 3.5 to 4
        trace = run_trace(vit, engine, batch[index])
        area = erase_curve(
            vit, engine, batch[index], heat(Question("votes"), trace, vit, engine, batch[index]), classes[index]
        ).deletion_area
        assert found.scores["votes"]["deletion"][row] == pytest.approx(area, abs=1e-6)
    members = quadruples(classes, 4)[0]
    tensor = mosaic([batch[each] for each in members])
    trace = run_trace(vit, engine, tensor)
    for place, each in enumerate(members):
        map = heat(Question("votes", target=classes[each]), trace, vit, engine, tensor)
        assert (found.scores["votes"]["mosaic_mass"][place], found.scores["votes"]["mosaic_hit"][place]) == pytest.approx(
            quarter(map, place)
        )
    assert sum(found.scores["rollout"]["mosaic_mass"][:4]) == pytest.approx(1), "rollout is one map for all classes"


def test_photos_of_too_few_classes_make_no_mosaic(engine):
    vit, batch = small_vit(), images(3)
    subjects = [Subject(lambda each=each: each, label=(int(vit.logits(each[None]).argmax()) + 1) % 8) for each in batch]
    steps = list(compare_photos(vit, engine, subjects, methods={"cls": Question("cls")}, erase=1, orders=1))
    assert steps[-1].done == 3
    assert steps[-1].comparison.mosaics == 0


def test_a_model_without_classes(engine):
    vit = dataclasses.replace(small_vit(), labels=())
    for steps in (compare_photo(vit, engine, Subject(lambda: images()[0])), compare_photos(vit, engine, [])):
        with pytest.raises(UserError, match="gives features, not classes"):
            next(steps)


def test_few_photos_are_all_erased(engine):
    vit, tensor = small_vit(), images()[0]
    *_, last = compare_photos(vit, engine, [Subject(lambda: tensor)] * 5, erase=48, mosaics=0, methods={"cls": NAMED["cls"]})
    assert last.comparison.table().erased == 5


def test_a_method_that_the_model_does_not_allow_is_left_out_and_named(engine, monkeypatch):
    def refuse(question, *rest):
        if question.method == "votes":
            raise UserError("The heads of this model pass a gate.")
        return heat(question, *rest)

    monkeypatch.setattr("vitdemo.attention.evaluation.compare.heat", refuse)
    vit, tensor = small_vit(), images()[0]
    for steps in (
        compare_photo(vit, engine, Subject(lambda: tensor), 3),
        compare_photos(vit, engine, [Subject(lambda: tensor)] * 2, mosaics=0),
    ):
        *_, last = steps
        assert last.comparison.refused == ["votes is left out: The heads of this model pass a gate."]
        assert set(last.comparison.table().rows) == ROWS - {"votes"}
