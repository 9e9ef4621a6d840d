"""What the page asks of a photo on show: other classes, one head, the answer without some heads, downloads."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vitdemo.attention.drawing import render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.ablation import ablate
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
    answer = ask("relevance", target=2)
    expected = sessions.relevance(session, vit, 2)
    heats = np.frombuffer(base64.b64decode(answer["heats"]), "<f4").reshape(3, 196)
    np.testing.assert_array_equal(heats, expected.flatten(1).numpy())
    assert (answer["index"], answer["name"]) == (2, "concatenation")
    assert answer["probability"] == pytest.approx(probabilities[2])


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


def test_the_answer_without_some_heads(ask, session, sessions, vit, engine):
    moves = ask("ablate", heads=[[2, 1], [3, 0], [2, 1]])["moves"]
    expected = ablate(vit, engine, session.tensor, [(2, 1), (3, 0)]).moves
    assert [(row["index"], row["name"]) for row in moves] == [(each.label.index, each.label.name.split(",")[0]) for each in expected]
    assert [row["probability"] for row in moves] == pytest.approx([each.before for each in expected], abs=1e-6)
    assert [row["after"] for row in moves] == pytest.approx([each.after for each in expected], abs=1e-6)
    assert all(row["probability"] == row["after"] for row in ask("ablate", heads=[])["moves"])
    for heads in ([[1]], [[1, 2, 3]], ["12"], [[1, "2"]], [[1, True]], [[1.0, 1]], [None]):
        assert ask("ablate", heads=heads)["error"] == "Name the heads to switch off by layer and head."


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
            assert answer["name"] == f"photo-rollout-{name}"
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
    heats = (sessions.relevance(session, vit, 1) - sessions.relevance(session, vit, 2)).numpy()
    style = render.OverlayStyle(render.DIFFERENCE)
    expected = render.overlay(sessions.photo(session).image, heats[2], session.geometry, style, span=render.even_span(heats[2]))
    assert np.array_equal(np.asarray(made(ask("download", kind="png", question=asked))), np.asarray(expected))


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
    from vitdemo.attention.question import Question

    return Question(method, head=head)
