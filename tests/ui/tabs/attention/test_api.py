"""The endpoint /attention, called by gradio_client from another process, and what it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.apps import ask_by_client
from vitdemo.attention.drawing import render
from vitdemo.attention.evaluation.compare import NAMED
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.artefacts import find_artefacts
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.votes import ledger
from vitdemo.core.inference.trace import trace

CALL = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
answers = []
for asked in json.loads(sys.argv[3]):
    try:
        answer, file = client.predict(handle_file(sys.argv[2]), api_name="/attention", **asked)
        answers.append({"answer": answer, "file": file})
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


def call(server, path, *asked: dict) -> list[dict]:
    return ask_by_client(CALL, server, str(path), json.dumps(asked))


def test_maps_and_files(app, bundle, vit, engine, picture):
    with Image.open(picture) as image:
        photo = image.convert("RGB")
    tensor = vit.preprocessing(photo)
    traced, geometry = trace(vit, tensor), vit.preprocessing.geometry(photo.size, vit.patch)
    top = int(traced.logits.argmax())
    answers = call(
        app,
        picture,
        {"method": "cls", "layer": 2, "head": "1", "file": "png"},
        {"method": "rollout", "fusion": "max", "discard": 0.5, "file": "npz"},
        {"method": "relevance", "target": "fish", "other": "hat", "file": "gif"},
        {"method": "gradient-rollout", "start_layer": 2},
        {"method": "votes", "target": "fish", "file": "npz"},
        {"target": "fish", "gradient": "plain", "compare": True},
    )
    fish, hat = (maps.relevance(traced, attention_gradient(vit, engine, tensor, index)) for index in (5, 7))
    expected = [
        maps.cls_map(traced, layer=2, head=1),
        maps.rollout(traced, fusion="max", discard=0.5),
        fish - hat,
        maps.gradient_rollout(traced, attention_gradient(vit, engine, tensor, top), start_layer=2),
        ledger(vit, engine, traced, 5).patches(traced),
        maps.relevance(traced, attention_gradient(vit, engine, tensor, 5, "plain")),
    ]
    places = [list(place) for place in find_artefacts(traced).places]
    for each, heat in zip(answers, expected, strict=True):
        np.testing.assert_allclose(each["answer"]["heat"], heat, atol=1e-5)
        assert each["answer"]["grid"] == [14, 14]
        assert each["answer"]["artefacts"] == places
        np.testing.assert_allclose(each["answer"]["box"], geometry.box)
        assert each["answer"]["model"] == bundle.name
    assert [each["index"] for each in answers[0]["answer"]["top"]] == traced.logits.topk(5).indices.tolist()
    assert "maps[1][0, 1][0][1:].reshape(14, 14)" in answers[0]["answer"]["python"]
    assert answers[1]["answer"]["python"] is None  # takes more than a few lines
    drawn = render.overlay(photo, expected[0], geometry)
    assert np.array_equal(np.asarray(Image.open(answers[0]["file"]).convert("RGB")), np.asarray(drawn))
    with np.load(answers[1]["file"]) as numbers:
        np.testing.assert_allclose(numbers["heat"], expected[1], atol=1e-6)
    assert Image.open(answers[2]["file"]).n_frames == 3
    assert answers[3]["file"] is None
    votes = answers[4]["answer"]["votes"]
    assert np.sum(votes["heads"]) + sum(votes["mlps"]) + sum(votes["biases"]) + votes["embedding"] + votes["constant"] == pytest.approx(
        float(traced.logits[5]), abs=1e-5
    )
    assert "votes" not in answers[5]["answer"]
    assert [row["index"] for row in answers[0]["answer"]["lens"][-1]] == [row["index"] for row in answers[0]["answer"]["top"]]
    assert len(answers[0]["answer"]["lens"]) == 3
    comparison = answers[5]["answer"]["comparison"]
    assert set(comparison["rows"]) == {*NAMED, "random", "centre"}
    assert set(comparison["rows"]["votes"]["deletion"]) == {"value", "low", "high", "chance", "centre"}
    assert comparison["sentences"]["votes"].startswith("The probability falls ")
    assert "comparison" not in answers[4]["answer"]
    with np.load(answers[4]["file"]) as numbers:
        assert numbers["artefacts"].tolist() == places
        assert (numbers["target"], numbers["model"]) == (5, bundle.name)
        for name, values in votes.items():
            np.testing.assert_allclose(numbers[f"votes_{name}"], values)
        first = numbers["lens_probabilities"].argmax(1).tolist()
        assert first == [rows[0]["index"] for rows in answers[4]["answer"]["lens"]]


@pytest.mark.filterwarnings("ignore")
def test_bad_requests_get_one_sentence(app, picture, tmp_path):
    answers = call(
        app,
        picture,
        {"method": "magic"},
        {"layer": 9},
        {"gradient": "lrp"},
        {"method": "cls", "head": "sideways"},
        {"method": "relevance", "target": "unicorn"},
        {"file": "exe"},
        {"file": ["png"]},
        {"method": "looks-at"},
        {"model": "local-dir:/etc"},
    )
    said = [
        "method must be one of relevance, votes",
        "no layer 9",
        "There is no gradient “lrp”",
        "head must be",
        "no class “unicorn”",
        "file must be",
        "file must be",
        "method must be one of relevance, votes",  # and no patch can be named here
        "no model of that name",
    ]
    for each, words in zip(answers, said, strict=True):
        assert words in each["error"]
    (tmp_path / "words.jpg").write_text("words")
    assert "is not a photo" in call(app, tmp_path / "words.jpg", {})[0]["error"]
