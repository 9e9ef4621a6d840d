"""A gallery's parts behind the page: found in the background, painted on photos, nearest patches; and when there are none."""

import base64

import numpy as np
import pytest

from tests.support.waiting import until
from tests.ui.tabs.embeddings.test_sessions import ask, files, job, jobs  # noqa: F401
from vitdemo.core.errors import UserError
from vitdemo.embeddings.vectors.parts import find_parts
from vitdemo.ui.tabs.embeddings import parts


def found(ask, **asked) -> dict:  # noqa: F811
    until(lambda: ask("parts", **asked)["parts"], 60)
    return ask("parts", **asked)


def test_parts_are_painted_and_nearest_patches_found(ask, jobs, job):  # noqa: F811
    numbers = [0, 1, 3, 5]  # 2 can't be read, and 4 is a duplicate of 1
    tokens = jobs.patch_tokens(job, numbers, 2)
    expected = find_parts(tokens.reshape(4, -1, tokens.shape[-1]))
    answer = found(ask, ids=[5, 0], layer=2)
    labels = np.frombuffer(base64.b64decode(answer["parts"]), np.uint8).reshape(answer["shape"])
    assert answer["shape"] == [2, 14, 14]
    np.testing.assert_array_equal(labels.reshape(2, -1), expected.labels[[3, 0]])
    assert answer["photos"] == pytest.approx((expected.photos / 4).tolist())
    assert (answer["looked"], answer["share"]) == (4, 1)
    patches = ask("part", layer=2, part=0)["patches"]
    nearest = expected.nearest(0, per_photo=1)
    assert [(each["id"], 14 * each["row"] + each["column"]) for each in patches] == [(numbers[photo], patch) for photo, patch in nearest]
    for asked, sentence in (
        ({"part": 99}, "There is no part"),
        ({"part": "x"}, "Name the part"),
        ({"part": 0, "layer": 1}, "not known"),
        ({"part": 0, "layer": []}, "not known"),
    ):
        with pytest.raises(UserError, match=sentence):
            ask("part", **{"layer": 2} | asked)


def test_stopped_and_too_few(ask, jobs, job, monkeypatch):  # noqa: F811
    def slow(*_):
        while True:
            yield None, np.zeros((196, 8), np.float32)

    monkeypatch.setattr("vitdemo.embeddings.vectors.patch_gallery.patch_gallery", slow)
    job.items = [job.items[0]] * 100_000
    monkeypatch.setattr(parts, "_spread", lambda job: list(range(100_000)))
    monkeypatch.setattr(parts, "MAX_PATCHES", 10**9)
    assert ask("parts", ids=[0], layer=1)["parts"] == ""
    search = job.parts[1]
    ask("stop_parts")
    assert search.stopping.is_set()
    assert job.parts == {}
    monkeypatch.undo()
    job.embedding.rows[:] = job.embedding.rows[:1]
    with pytest.raises(UserError, match="Parts recur across photos: give two at least"):
        ask("parts", ids=[0], layer=1)


def test_a_failed_search_is_told_once_and_begun_anew(ask, job, monkeypatch):  # noqa: F811
    monkeypatch.setattr("vitdemo.embeddings.vectors.patch_gallery.patch_gallery", lambda *_: (each for each in ()))
    with pytest.raises(UserError, match="give them again"):
        until(lambda: ask("parts", ids=[0], layer=1)["parts"], 60)
    assert job.parts == {}
    monkeypatch.undo()
    assert found(ask, ids=[0], layer=1)["parts"]
