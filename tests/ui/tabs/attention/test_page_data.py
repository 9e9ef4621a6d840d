"""What the page is sent of a photo, what it may ask later, and that scenes come and go."""

import base64
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.support.http import answer_of
from tests.support.pictures import noise
from tests.support.small_vits import KINDS, small_vit, twice_vit
from tests.ui.tabs.attention.conftest import seen
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Trace, trace
from vitdemo.ui.errors import NOT_UNDERSTOOD
from vitdemo.ui.tabs.attention.downloads import download
from vitdemo.ui.tabs.attention.page_data import pack
from vitdemo.ui.tabs.attention.routes import AttentionRoutes


def section(told: dict, name: str) -> np.ndarray:
    kind, start, count = told["sections"][name]
    with open(told["maps"], "rb") as file:
        return np.frombuffer(file.read(), np.dtype(kind).newbyteorder("<"), count, start)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_the_traces(kind, sessions, upload):
    vit = small_vit(kind)
    told = seen(sessions, upload, vit)
    traced = trace(vit, vit.preprocessing(noise(90, 70)))
    cls = maps.cls_attention(traced)
    np.testing.assert_allclose(section(told, "heads"), cls.flatten(), atol=1e-6)
    np.testing.assert_allclose(section(told, "rollout"), maps.rollouts(traced).flatten(), atol=1e-6)
    tokens = told["tokens"]
    links = section(told, "links").reshape(3, tokens, tokens) * section(told, "scale").reshape(3, tokens, 1)
    np.testing.assert_allclose(links + section(told, "low").reshape(3, tokens, 1), traced.attention.mean(1), atol=1e-5)
    assert told["geometry"]["grid"] == traced.grid
    assert (told["prefix"], told["layers"], told["heads"], told["cls"]) == (traced.prefix, 3, 3, traced.has_cls)
    assert [each["index"] for each in told["top"]] == traced.logits.topk(5).indices.tolist()
    assert told["lens"][-1]["index"] == int(traced.logits.argmax())
    assert len(section(told, "colours-coolwarm")) == 768
    assert told["headsOff"] is True


def test_a_model_without_classes_has_no_answers(sessions, upload):
    vit = replace(small_vit(), labels=())
    told = seen(sessions, upload, vit)
    assert (told["top"], told["lens"], told["headsOff"]) == ([], [], False)
    ask = partial(answer_of, AttentionRoutes(sessions), session=told["session"])
    assert "gives features, not classes" in ask("class_map", question={"method": "relevance", "target": 0})["error"]
    assert ask("classes", words="a") == {"classes": [], "more": 0}


def test_a_model_whose_attention_cannot_be_read(sessions, upload, monkeypatch):
    vit = twice_vit()
    with pytest.raises(UserError, match="can't be shown: choose another model"):
        seen(sessions, upload, vit)


def test_what_the_page_asks_later(sessions, upload, engine):
    told = seen(sessions, upload)
    vit, ask = sessions.store.loading.vit, partial(answer_of, AttentionRoutes(sessions))
    tensor = vit.preprocessing(noise(90, 70))
    answer = ask("class_map", session=told["session"], question={"method": "relevance", "target": 3})
    traced = trace(vit, tensor)
    expected = maps.relevances(traced, attention_gradient(vit, engine, tensor, 3))
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(answer["heats"]), "<f4"), expected.flatten(), atol=1e-6)
    found = ask("classes", session=told["session"], words=vit.labels[2].name[:3])
    assert vit.labels[2].index in [each["index"] for each in found["classes"]]
    for name, asked in {
        "class_map": {"question": {"method": "votes", "target": 8}},
        "votes": {"target": 8},
        "ablate": {"heads": [[1]]},
        "head": {"head": "x"},
        "download": {"kind": "exe"},
        "erase": {"question": {"method": "x"}},
    }.items():
        assert list(ask(name, session=told["session"], **asked)) == ["error"]
        assert ask(name, session="unknown", **asked)["error"].startswith("This photo is not here any more")
        assert ask(name, session=[])["error"] == NOT_UNDERSTOOD


def test_what_runs_no_model_takes_the_server_no_time(sessions, upload, monkeypatch):
    told = seen(sessions, upload)
    attention = torch.rand(12, 12, 197, 197).softmax(-1)  # as large as ViT-B/16's
    values, tokens = torch.zeros(12, 12, 197, 1), torch.zeros(12, 197, 8)
    large = Trace(torch.rand(8), torch.rand(768), attention, values, tokens[0], tokens, torch.eye(197)[0], True, 1, (14, 14), (16, 16))
    monkeypatch.setattr(sessions, "trace", lambda session, vit: large)
    ask = partial(answer_of, AttentionRoutes(sessions), session=told["session"])
    for name, asked in {"head": {"head": 7}, "classes": {"words": "a"}}.items():
        took = []
        for _ in range(5):
            begin = time.perf_counter()
            assert "error" not in ask(name, **asked)
            took.append(1000 * (time.perf_counter() - begin))
        print(f"{name}: {min(took):.1f} ms at best, {max(took):.1f} at worst")
        assert min(took) < 50


def test_scenes_come_and_go(sessions, upload):
    told = [seen(sessions, upload) for _ in range(4)]
    with pytest.raises(UserError, match="not here any more"):
        sessions.get(told[0]["session"])
    kept = sessions.get(told[3]["session"])
    assert kept.folder.is_dir()
    other = seen(sessions, upload, visitor="w")
    sessions.leave("v")
    assert not kept.folder.exists()
    assert sessions.get(other["session"])


def test_sections_begin_where_a_page_can_read_them():
    data, sections = pack({"a": np.arange(3, dtype=np.uint8), "b": np.arange(2, dtype=np.float32)})
    assert sections == {"a": ["uint8", 0, 3], "b": ["float32", 4, 2]}
    assert np.frombuffer(data, np.float32, 2, 4).tolist() == [0, 1]


def test_one_file_at_a_time_is_made_of_a_photo(sessions, upload):
    """It takes ten times the photo's pixels in memory, and some seconds."""
    told = seen(sessions, upload)
    session, asked = sessions.get(told["session"]), {"method": "rollout"}
    with session.drawing, pytest.raises(UserError, match="A file of this photo is being made: wait for it"):
        download(sessions, session, asked, "png")
    assert download(sessions, session, asked, "png").path.endswith("overlay.png")
