"""The bench of a demo day: what it takes for known, what it counts, and a small one in full."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.waiting import finished
from vitdemo.bench import load
from vitdemo.bench.load_known import GALLERY, known
from vitdemo.bench.load_visitors import Tally
from vitdemo.core.config import Settings


@pytest.fixture(scope="module")
def truth():
    return known()


def test_what_is_known_is_what_this_project_answers(truth):
    """timm alone, and the app's own way from a file to the answer."""
    from vitdemo.attention.methods.maps import rollout
    from vitdemo.classify.photo import classify
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.inference.trace import trace
    from vitdemo.core.photos.photo import open_photo

    store = ModelStore(Settings(model="demo", device="cpu"))
    vit = store.get().result(60)
    assert len(truth.photos) == 100
    for name in list(truth.heats)[:3]:
        image = open_photo(GALLERY / name, store.settings).image
        rows = [{"label": each.label.name, "probability": each.probability} for each in classify(image, vit, store.engine).predictions]
        assert truth.classified(name, rows)
        assert truth.looked(name, rollout(trace(vit, vit.preprocessing(image))).tolist())


def test_requests_take_the_photos_in_turn(truth, monkeypatch):
    """Each kind of request, without a server: which photo it sends, and that another photo's answer is wrong for it."""

    async def sent(client, name: str, data: bytes) -> dict:
        return {"path": name, "bytes": len(data)}

    monkeypatch.setattr(load, "upload", sent)
    kinds = {kind.name: kind for kind in load._kinds(truth, 8, {})}
    assert list(kinds) == ["classify", "attention", "gallery of 100"]
    names = list(truth.heats)
    for number in range(len(names) + 2):
        endpoint, data, right = finished(kinds["attention"].ask(None, number))
        name = names[number % len(names)]
        assert (endpoint, data[0]) == ("attention", {"path": Path(name).name, "bytes": len(truth.photos[name])})
        assert right([{"heat": truth.heats[name]}])
        assert not right([{"heat": truth.heats[names[(number + 1) % len(names)]]}])
    endpoint, data, right = finished(kinds["gallery of 100"].ask(None, 0))
    assert (endpoint, data[3][0]["path"]) == ("classify", "many.zip")
    assert not right([{"rows": []}])


def test_another_answer_is_wrong(truth):
    name = next(iter(truth.heats))
    best = max(range(len(truth.labels)), key=truth.probabilities[name].__getitem__)
    right = {"label": truth.labels[best], "probability": truth.probabilities[name][best]}
    assert truth.classified(name, [right])
    assert not truth.classified(name, [right | {"probability": right["probability"] - 0.01}])
    assert not truth.classified(name, [{"label": truth.labels[best - 1], "probability": truth.probabilities[name][best - 1]}])
    assert not truth.classified(name, [])
    assert not truth.looked(name, [[0.0] * 14] * 14)


def test_the_tally():
    tally = Tally()
    tally.seconds["classify"] += [float(number) for number in range(100, 0, -1)]
    tally.lost["export"] += 1
    assert tally.kinds == ["classify", "export"]
    assert tally.row("classify") == {"answered": 100, "lost": 0, "wrong": 0, "refused": 0, "p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert tally.row("export") == {"answered": 0, "lost": 1, "wrong": 0, "refused": 0, "p50": None, "p95": None, "p99": None}


@pytest.mark.slow
def test_a_small_demo_day(capsys):
    with ThreadPoolExecutor(1) as thread:  # this one may have the event loop of a browser's tests
        found = thread.submit(load.run, runs=1, minutes=0.2, clients=8).result()
    assert set(found["mixed"]) == {"classify", "attention", "gallery of 100", "fine-tuning", "export"}
    for row in (*found["mixed"].values(), found["this app"], found["bare Gradio and timm"]):
        assert row["answered"] > 0
        assert (row["lost"], row["wrong"], row["refused"]) == (0, 0, 0)
    assert found["crowd"]["answered"] + found["crowd"]["refused"] == 300
    assert found["crowd"]["refused"] > 0
    assert "The app is busy" in capsys.readouterr().out
    assert len(found["memory_mb"]) == 3
