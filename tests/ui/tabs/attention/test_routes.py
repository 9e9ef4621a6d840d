"""What the page asks of a photo on show: other classes, one head, the answer without some heads, downloads."""

import base64
import io
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from tests.support.waiting import until
from vitdemo.attention.drawing import figures, render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.votes import ledger
from vitdemo.attention.question import Question
from vitdemo.core.models.labels import Label
from vitdemo.ui.tabs.attention import routes
from vitdemo.ui.tabs.attention.downloads import KINDS

NAMES = ("cat, house cat", "wild cat", "concatenation", "dog", "cat", "bird", "fish", "boat")


@pytest.fixture
def vit(sessions, session):
    """The model, whose classes have names that resemble each other."""
    labels = tuple(Label(index, name, f"n{index:08}") for index, name in enumerate(NAMES))
    sessions.store.loading.vit = replace(sessions.store.loading.vit, labels=labels)
    return sessions.store.loading.vit


@pytest.fixture
def probabilities(sessions, session, vit) -> list[float]:
    return sessions.trace(session, vit).logits.softmax(-1).tolist()


def found(answer: dict) -> list[int]:
    return [row["index"] for row in answer["classes"]]


def test_classes_are_found_by_name_synset_and_index(ask, vit, probabilities):
    answer = ask("classes", words="  CAT ")
    exact = sorted((0, 4), key=lambda index: -probabilities[index])
    assert found(answer) == [*exact, *sorted((1, 2), key=lambda index: -probabilities[index])]
    assert answer["more"] == 0
    row = next(row for row in answer["classes"] if row["index"] == 0)
    assert (row["whole"], row["probability"]) == ("cat, house cat", pytest.approx(probabilities[0]))
    assert found(ask("classes", words="house")) == [0]
    assert found(ask("classes", words="n00000003")) == [3]
    assert found(ask("classes", words="5")) == [5]
    assert found(ask("classes", words="wild")) == [1]
    for words in ("", "  ", "unicorn", "n0000"):
        assert ask("classes", words=words) == {"classes": [], "more": 0}


def test_names_that_begin_with_the_words_come_before_others(ask, vit):
    assert found(ask("classes", words="con")) == [2]
    assert found(ask("classes", words="b"))[-1] in (5, 7)
    assert found(ask("classes", words="h")) == [0, 6]  # “house cat” begins with it, “fish” only has it


def test_the_rest_of_many_is_counted(ask, vit, monkeypatch):
    monkeypatch.setattr(routes, "MAX_FOUND_CLASSES", 1)
    answer = ask("classes", words="cat")
    assert (len(answer["classes"]), answer["more"]) == (1, 3)


def test_the_relevance_of_another_class(ask, session, sessions, vit, probabilities):
    answer = ask("class_map", question={"method": "relevance", "target": 2})
    expected = sessions.class_map(session, vit, Question(), 2)
    heats = np.frombuffer(base64.b64decode(answer["heats"]), "<f4").reshape(3, 196)
    np.testing.assert_array_equal(heats, expected.flatten(1).numpy())
    assert (answer["index"], answer["name"]) == (2, "concatenation")
    assert answer["probability"] == pytest.approx(probabilities[2])


def test_the_ledger_of_a_class_and_against_another(ask, session, sessions, vit, engine):
    trace = sessions.trace(session, vit)
    for other, logit in ((None, trace.logits[2]), (5, trace.logits[2] - trace.logits[5])):
        answer, found = ask("votes", target=2, other=other), ledger(vit, engine, trace, 2, other)
        np.testing.assert_allclose(answer["heads"], found.heads.numpy(), atol=1e-6)
        np.testing.assert_allclose(answer["mlps"], found.mlps.numpy(), atol=1e-6)
        parts = np.sum(answer["heads"]) + np.sum(answer["mlps"]) + answer["embedding"] + answer["biases"] + answer["constant"]
        assert (answer["total"], answer["logit"]) == (pytest.approx(parts, abs=1e-4), pytest.approx(float(logit)))
        assert answer["total"] == pytest.approx(answer["logit"], abs=1e-4)
    assert "error" in ask("votes", target=8)
    assert "error" in ask("class_map", question={"method": "cls", "target": 2})
    assert "error" in ask("class_map", question={"method": "votes"})


def test_artefacts_are_left_out_of_pictures_and_stay_in_numbers(ask, session, sessions, vit, monkeypatch):
    mask = torch.zeros(3, 14, 14, dtype=torch.bool)
    mask[1:, 0, 0] = True
    monkeypatch.setattr("vitdemo.ui.tabs.attention.page_data.artefacts_by_layer", lambda trace: mask)
    heats = maps.rollouts(sessions.trace(session, vit))
    ordinary = heats.clone()
    ordinary[1:, 0, 0] = heats[1:, [0, 1], [1, 0]].mean(1)
    photo = sessions.photo(session).image
    for asked, drawn in (({}, ordinary), ({"artefacts": True}, heats)):
        shown = made(ask("download", kind="png", question={"method": "rollout", "layer": 2} | asked))
        assert np.array_equal(np.asarray(shown), np.asarray(render.overlay(photo, drawn[1].numpy(), session.geometry)))
    with np.load(ask("download", kind="npz", question={"method": "rollout"})["path"]) as arrays:
        np.testing.assert_array_equal(arrays["heats"], heats.numpy())
        assert arrays["artefacts"].shape[1] == 2


def test_one_head_at_every_layer(ask, session, sessions, vit):
    trace = sessions.trace(session, vit)
    for head in (1, "1", "max"):
        answer = ask("head", head=head)
        assert re.search(r"/head-\w+\.bin$", answer["path"])
        with open(answer["path"], "rb") as file:
            data = file.read()
        sections = answer["sections"].items()
        numbers = {name: np.frombuffer(data, np.dtype(kind).newbyteorder("<"), count, start) for name, (kind, start, count) in sections}
        scale, low = (numbers[name].reshape(3, 197, 1) for name in ("scale", "low"))
        links = numbers["links"].reshape(3, 197, 197) * scale + low
        fused = trace.attention.max(1).values if head == "max" else trace.attention[:, 1]
        np.testing.assert_allclose(links, fused.numpy(), atol=1e-5)
    assert "error" in ask("head", head=3)


def test_everything_follows_the_heads_that_are_off(ask, session, sessions, vit, engine):
    answer = ask("ablate", heads=[[3, 0], [2, 1], [2, 1]])
    without, ablated = sessions.get(answer["session"]), without_heads(vit, [(2, 1), (3, 0)])
    trace, whole = sessions.trace(without, sessions.vit(without)), sessions.trace(session, vit)
    probabilities = ablated.logits(session.tensor[None])[0].softmax(-1)
    assert without.off == ((2, 1), (3, 0))
    assert torch.allclose(trace.logits.softmax(-1), probabilities, atol=1e-6)
    for row in answer["moves"]:
        before = whole.logits.softmax(-1)[row["index"]]
        assert (row["probability"], row["after"]) == (
            pytest.approx(float(before)),
            pytest.approx(float(probabilities[row["index"]]), abs=1e-6),
        )
        assert row["probability"] != row["after"]
    assert [row["probability"] for row in answer["top"]] == pytest.approx(probabilities.topk(5).values.tolist(), abs=1e-6)
    assert answer["lens"][-1]["index"] == answer["top"][0]["index"]
    assert answer["lens"][-1]["probability"] == pytest.approx(answer["top"][0]["probability"], abs=1e-6)
    with open(answer["maps"], "rb") as file:
        kind, start, count = answer["sections"]["rollout"]
        rollout = np.frombuffer(file.read(), np.dtype(kind).newbyteorder("<"), count, start)
    np.testing.assert_array_equal(rollout, maps.rollouts(trace).numpy().ravel())

    ask = partial(ask, session=answer["session"])
    gradient = attention_gradient(ablated, engine, session.tensor, 2)
    heats = np.frombuffer(base64.b64decode(ask("class_map", question={"method": "relevance", "target": 2})["heats"]), "<f4")
    np.testing.assert_allclose(heats, maps.relevances(trace, gradient).numpy().ravel(), atol=1e-6)
    assert ask("class_map", question={"method": "relevance", "target": 2})["probability"] == pytest.approx(
        float(probabilities[2]), abs=1e-6
    )
    assert ask("classes", words="boat")["classes"][0]["probability"] == pytest.approx(float(probabilities[7]), abs=1e-6)
    taken = ask("download", kind="npz", question={"method": "cls"})
    assert taken["name"] == f"photo-{vit.name}-cls-without-2-heads-maps.npz"
    names = [
        ({"method": "relevance", "target": 0}, "relevance-cat-layer-3-without-2-heads-overlay.png"),
        ({"method": "relevance", "target": 0, "other": 3, "layer": 2}, "relevance-cat-minus-dog-layer-2-without-2-heads-overlay.png"),
        ({"method": "relevance", "target": 0, "gradient": "plain"}, "relevance-plain-cat-layer-3-without-2-heads-overlay.png"),
        ({"method": "looks-at", "patch": [0, 1], "head": 2}, "looks-at-row-1-column-2-head-2-layer-3-without-2-heads-overlay.png"),
        ({"method": "cls", "head": "max"}, "cls-max-layer-3-without-2-heads-overlay.png"),
    ]
    for question, name in names:
        assert ask("download", kind="png", question=question)["name"] == f"photo-{vit.name}-{name}"
    with np.load(taken["path"]) as arrays:
        assert arrays["off"].tolist() == [[2, 1], [3, 0]]
        np.testing.assert_array_equal(arrays["logits"], trace.logits.numpy())
    assert "for layer, head in [(2, 1), (3, 0)]:" in ask("download", kind="python", question={"method": "cls"})["text"]
    ask("erase", question={"method": "cls", "target": 2})
    until(lambda: ask("erased")["over"])
    assert ask("erased")["curves"]["map"]["deletion"][0] == pytest.approx(float(probabilities[2]), abs=1e-5)

    again = ask("ablate", heads=[])
    assert sessions.vit(sessions.get(again["session"])) is vit
    assert all(row["probability"] == row["after"] for row in again["moves"])
    for heads in ([[1]], [[1, 2, 3]], ["12"], [[1, "2"]], [[1, True]], [[1.0, 1]], [None]):
        assert ask("ablate", heads=heads)["error"] == "Name the heads to switch off by layer and head."
    assert "There is no layer 4" in ask("ablate", heads=[[4, 0]])["error"]


def test_copies_without_heads_are_few(ask, session, sessions, vit, monkeypatch):
    monkeypatch.setattr("vitdemo.ui.tabs.attention.sessions.MAX_COPIES", 2)
    copies = [sessions.vit(session.without([(layer, 0)])) for layer in (1, 2, 1, 3, 1, 2)]
    assert copies[0] is copies[2] is copies[4]
    assert copies[1] is not copies[5]


def made(answer: dict) -> Image.Image:
    with open(answer["path"], "rb") as file:
        return Image.open(io.BytesIO(file.read()))


def test_every_download_is_what_its_name_says(ask, session, sessions, vit):
    asked = {"method": "rollout", "layer": 2, "smooth": False}
    for kind, name in KINDS.items():
        answer = ask("download", kind=kind, question=asked)
        if kind == "python":
            assert "Image.open('photo.png')" in answer["text"]
            assert "for attention in maps[0:2]:" in answer["text"]  # layers 1 and 2
            assert (answer["path"], answer["name"]) == ("", "")
            compile(answer["text"], "snippet", "exec")
        else:
            assert answer["path"].endswith(f"/{name}")
            layer = "layer-2-" if kind == "png" else ""
            assert answer["name"] == f"photo-{vit.name}-rollout-{layer}{name}"
    assert "There is no such download: choose png, layers, gif" in ask("download", kind="exe", question=asked)["error"]


def test_the_overlay_is_drawn_in_the_pages_style(ask, session, sessions, vit):
    heats = maps.rollouts(sessions.trace(session, vit)).numpy()
    photo = sessions.photo(session).image
    cases = (
        ({}, heats[2], render.OverlayStyle()),
        ({"flat": True}, heats[2], render.OverlayStyle(flat=True)),
        ({"layer": 2, "opacity": 0.25, "colours": "viridis", "smooth": False}, heats[1], render.OverlayStyle("viridis", 0.25, False)),
        ({"even": True}, render.without_peaks(heats)[2], render.OverlayStyle()),
    )
    for style, heat, expected in cases:
        drawn = made(ask("download", kind="png", question={"method": "rollout"} | style))
        assert np.array_equal(np.asarray(drawn), np.asarray(render.overlay(photo, heat, session.geometry, expected)))
    for opacity in (True, "1", None, [1]):
        said = ask("download", kind="png", question={"method": "rollout", "opacity": opacity})["error"]
        assert said == "The opacity must be a number from 0 to 1."


def test_a_difference_is_drawn_about_an_even_middle(ask, session, sessions, vit):
    asked = {"method": "relevance", "target": 1, "other": 2, "even": True, "colours": "viridis"}
    heats = (sessions.class_map(session, vit, Question(), 1) - sessions.class_map(session, vit, Question(), 2)).numpy()
    style = render.OverlayStyle(render.DIFFERENCE)
    expected = render.overlay(sessions.photo(session).image, heats[2], session.geometry, style, span=render.even_span(heats[2]))
    assert np.array_equal(np.asarray(made(ask("download", kind="png", question=asked))), np.asarray(expected))


def test_a_locked_scale_is_one_span_for_all_layers(ask, session, sessions, vit):
    photo = sessions.photo(session).image
    heats = maps.rollouts(sessions.trace(session, vit)).numpy()
    difference = (sessions.class_map(session, vit, Question(), 1) - sessions.class_map(session, vit, Question(), 2)).numpy()
    evened = render.without_peaks(heats)
    cases = (
        ({"method": "rollout"}, heats, render.span_of(heats), "inferno"),
        ({"method": "rollout", "even": True}, evened, render.span_of(evened), "inferno"),
        ({"method": "relevance", "target": 1, "other": 2}, difference, render.even_span(difference), render.DIFFERENCE),
    )
    for asked, drawn, span, colours in cases:
        question = asked | {"layer": 2, "locked": True}
        style = render.OverlayStyle(colours)
        expected = render.overlay(photo, drawn[1], session.geometry, style, span=span)
        assert np.array_equal(np.asarray(made(ask("download", kind="png", question=question))), np.asarray(expected))
        frame = ImageSequence.Iterator(made(ask("download", kind="gif", question=question)))[1].convert("RGB")
        painted = figures.layer_frames(photo, drawn, session.geometry, style, span=span)[1]
        assert np.abs(np.asarray(frame).astype(int) - np.asarray(painted)).mean() < 3  # a GIF has 256 colours; with its own span, it is 5
        sheet = figures.all_layers(photo, drawn, session.geometry, style, title=title(asked, session, sessions, vit), span=span)
        assert np.array_equal(np.asarray(made(ask("download", kind="layers", question=question))), np.asarray(sheet))


def title(asked, session, sessions, vit) -> str:
    from vitdemo.attention import question

    return question.title(Question.parse(asked | {"layer": 2}), sessions.trace(session, vit), vit)


def test_moving_pictures_have_a_frame_for_each_layer(ask, vit):
    for kind in ("gif", "webp"):
        moving = made(ask("download", kind=kind, question={"method": "rollout"}))
        assert (moving.format, moving.n_frames) == (kind.upper(), 3)
        assert made(ask("download", kind=kind, question={"method": "rollout", "start_layer": 2})).n_frames == 2


def test_the_numbers_are_the_traces(ask, session, sessions, vit):
    trace = sessions.trace(session, vit)
    answer = ask("download", kind="npz", question={"method": "cls", "layer": 1, "head": 2, "even": True})
    with np.load(answer["path"]) as arrays:
        expected = sessions.heats(session, vit, routes_question("cls", 2)).numpy()
        np.testing.assert_array_equal(arrays["heats"], expected)
        np.testing.assert_array_equal(arrays["heat"], expected[0])
        np.testing.assert_array_equal(arrays["attention_cls"], maps.cls_attention(trace).numpy())
        np.testing.assert_array_equal(arrays["logits"], trace.logits.numpy())
        np.testing.assert_array_equal(arrays["box"], session.geometry.box)
    sessions.store.loading.vit = replace(vit, labels=())
    with np.load(ask("download", kind="npz", question={"method": "cls"})["path"]) as arrays:
        assert arrays["logits"].shape == (0,)  # features are no logits


def routes_question(method: str, head: int):
    return Question(method, head=head)
