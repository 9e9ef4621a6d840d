"""The bench of a demo day: what it takes for known, what it counts, and a small one in full."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.bench.conftest import words
from tests.support.apps import ROOT
from tests.support.waiting import finished
from vitdemo.bench import load, load_plain, load_visitors
from vitdemo.bench.load_known import GALLERY, MODEL, Known, known, unseen, zipped
from vitdemo.bench.load_visitors import Kind, Tally
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
        assert (endpoint, data["photo"]) == ("attention", {"path": Path(name).name, "bytes": len(truth.photos[name])})
        assert right([{"heat": truth.heats[name]}])
        assert not right([{"heat": truth.heats[names[(number + 1) % len(names)]]}])
    endpoint, data, right = finished(kinds["gallery of 100"].ask(None, 0))
    assert (endpoint, data["photos"][0]["path"]) == ("classify", "many.zip")
    assert not right([{"rows": []}])


def test_requests_name_the_parameters_of_the_apps_endpoints(truth, monkeypatch):
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.ui import page

    async def sent(client, name: str, data: bytes) -> dict:
        return {"path": name}

    monkeypatch.setattr(load, "upload", sent)
    offered = page.build(Settings(), ModelStore(Settings())).get_api_info()["named_endpoints"]
    for kind in load._kinds(truth, 8, {"fine-tuning": (), "export": ()}):
        endpoint, data, _ = finished(kind.ask(None, 0))
        parameters = {each["parameter_name"]: each["parameter_has_default"] for each in offered[f"/{endpoint}"]["parameters"]}
        assert {name for name, has_default in parameters.items() if not has_default} <= data.keys() <= parameters.keys()


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


def test_the_clients_are_shared_out_among_the_kinds(truth):
    everything = {"fine-tuning": (), "export": ()}
    assert {kind.name: kind.visitors for kind in load._kinds(truth, 50, everything)} == {
        "classify": 34,
        "attention": 10,
        "gallery of 100": 4,
        "fine-tuning": 1,
        "export": 1,
    }
    assert [kind.visitors for kind in load._kinds(truth, 2, everything)] == [1] * 5  # at least one of each


def test_long_work_is_right_if_it_ends_as_without_load(truth, monkeypatch):
    async def sent(client, name: str, data: bytes) -> str:
        return name

    monkeypatch.setattr(load, "upload", sent)
    learnt = {"classes": ["a", "b"], "accuracy": 0.87654}
    shipped = {"shipped": True, "bytes": 5, "agreement": {"agreement": 0.99}}
    made = {"plan": {"format": "onnx"}, "rows": [shipped | {"shipped": False, "bytes": 7}, shipped]}
    assert load._learned(learnt) == (["a", "b"], 0.877)
    assert load._exported(made) == ("onnx", 5, 0.99)
    kinds = {kind.name: kind for kind in load._kinds(truth, 8, {"fine-tuning": load._learned(learnt), "export": load._exported(made)})}
    endpoint, data, right = finished(kinds["fine-tuning"].ask(None, 0))
    assert (endpoint, data) == ("finetune", {"photos": "classes.zip", "settings": {"seed": 1}})
    assert right([learnt])
    assert not right([learnt | {"accuracy": 0.8}])
    endpoint, data, right = finished(kinds["export"].ask(None, 0))
    assert (endpoint, data) == ("export", {})
    assert right([made])
    assert not right([made | {"rows": [shipped | {"bytes": 6}]}])


def test_a_gallery_is_right_if_every_photo_is(truth):
    small = Known({name: truth.photos[name] for name in list(truth.photos)[:2]}, truth.labels, truth.probabilities, truth.heats)

    async def sent(client, name: str, data: bytes) -> str:
        return name

    rows = []
    for name in small.photos:
        best = max(range(len(truth.labels)), key=truth.probabilities[name].__getitem__)
        predictions = [{"label": truth.labels[best], "probability": truth.probabilities[name][best]}]
        rows.append({"photo": f"many.zip/{name}", "predictions": predictions})
    before, load.upload = load.upload, sent
    try:
        *_, right = finished({kind.name: kind for kind in load._kinds(small, 8, {})}["gallery of 100"].ask(None, 0))
    finally:
        load.upload = before
    assert right([{"rows": rows}])
    assert not right([{"rows": rows[:1]}])
    assert not right([{"rows": [rows[0], {"photo": rows[1]["photo"], "error": "damaged"}]}])
    wrong = rows[1] | {"predictions": [rows[1]["predictions"][0] | {"probability": 0.0}]}
    assert not right([{"rows": [rows[0], wrong]}])


def test_the_bare_app_classifies_as_timm_does(truth, monkeypatch):
    from PIL import Image

    made = []

    class Interface:
        def __init__(self, classify, *_, api_name: str):
            made.append((classify, api_name))

        def launch(self, server_port: int, quiet: bool) -> None:
            made.append(server_port)

    gradio = SimpleNamespace(Interface=Interface, Image=lambda type: type, JSON=lambda: "json")
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    load_plain.main(MODEL, 1234)
    (classify, name), port = made
    assert (name, port) == ("classify", 1234)
    photo = next(iter(truth.photos))
    predictions = classify(Image.open(GALLERY / photo).convert("RGB"))["predictions"]
    assert len(predictions) == 5
    assert truth.classified(photo, predictions)


# The clients, against an app that is not there


class FakeApp:
    """Answers as the app does: an upload's path, an event's id, and the events told for it."""

    def __init__(self, events: str, status: int = 200):
        self.events, self.status, self.asked = events, status, []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if request.url.path.endswith("/upload"):
            return httpx.Response(self.status, json=["/tmp/x/a.jpg"])
        if request.method == "POST":
            self.data = json.loads(request.content)
            return httpx.Response(self.status, json={"event_id": "e1"} if self.status == 200 else {"detail": "The app is busy: wait."})
        return httpx.Response(200, text=self.events)

    def ask(self, kind: Kind, tally: Tally) -> None:
        async def once() -> None:
            async with httpx.AsyncClient(base_url="http://app", transport=httpx.MockTransport(self)) as client:
                await load_visitors.ask_once(client, kind, 3, tally)

        finished(once())


async def _ask(client: httpx.AsyncClient, number: int):
    photo = await load_visitors.upload(client, "a.jpg", b"x")
    return "classify", {"photo": photo, "top": number}, lambda answer: answer == [1, 2]


KIND = Kind("classify", 1, _ask)


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ("event: heartbeat\ndata: null\n\nevent: complete\ndata: [1, 2]\n\n", (1, 0, 0, 0)),
        ("event: complete\ndata: [1, 3]\n\n", (1, 0, 1, 0)),
        ('event: error\ndata: {"error": "The server has no room: wait."}\n\n', (0, 0, 0, 1)),
        ('event: error\ndata: "The app is busy: 3 wait."\n\n', (0, 0, 0, 1)),
        ('event: error\ndata: {"error": "That is no photo."}\n\n', (0, 1, 0, 0)),
        ("event: generating\ndata: [1, 2]\n\n", (0, 1, 0, 0)),
        ("event: complete\ndata: [1,\n\n", (0, 1, 0, 0)),
    ],
)
def test_how_a_request_ends(events, outcome, clock_of, monkeypatch):
    clock, waited, tally = clock_of(load_visitors), [], Tally()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(load_visitors, "asyncio", SimpleNamespace(sleep=sleep))
    app = FakeApp(events)
    begin = clock.now
    app.ask(KIND, tally)
    assert clock.now == begin
    assert app.asked == [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/call/v2/classify"),
        ("GET", "/gradio_api/call/v2/classify/e1"),
    ]
    assert app.data == {"photo": {"path": "/tmp/x/a.jpg", "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}, "top": 3}
    row = tally.row("classify")
    assert (row["answered"], row["lost"], row["wrong"], row["refused"]) == outcome
    assert waited == [1] * outcome[3]
    assert len(tally.said) == outcome[1] + outcome[3]
    assert all(said.startswith("classify: ") for said in tally.said)


def test_a_refused_upload_is_lost():
    tally = Tally()
    FakeApp("", 507).ask(KIND, tally)
    assert tally.row("classify")["lost"] == 1
    assert "507" in next(iter(tally.said))


def test_visitors_ask_until_the_time_is_over(clock_of, monkeypatch):
    clock, asked = clock_of(load_visitors), []

    async def once(client, kind: Kind, number: int, tally: Tally) -> None:
        asked.append((kind.name, number))
        await asyncio.sleep(0)
        clock.pass_(1)

    monkeypatch.setattr(load_visitors, "ask_once", once)
    kinds = [Kind("a", 2, _ask), Kind("b", 1, _ask)]
    took = finished(load_visitors.visit("http://app", kinds, Tally(), 6))
    assert took == len(asked) in (6, 7, 8)  # the other two may have begun before the time is over
    assert sorted(number for _, number in asked) == list(range(len(asked)))
    assert [name for name, _ in asked].count("b") in (2, 3)
    finished(load_visitors.crowd("http://app", KIND, Tally(), 4))
    assert sorted(number for name, number in asked if name == "classify") == [0, 1, 2, 3]


# The apps


def test_a_row_is_printed_as_it_is(capsys):
    tally = Tally()
    tally.seconds["classify"] += [0.5, 0.25]
    tally.wrong["classify"] += 1
    assert load._print_row("this app", tally, "classify", 4)["answered"] == 2
    assert load._print_row("none", tally, "export", 4)["answered"] == 0
    assert load._print_row("at once", tally, "classify", None)["wrong"] == 1
    first, none, last = capsys.readouterr().out.splitlines()
    outcome = "2 answered, 0 lost, 1 wrong, 0 refused p50 500 ms p95 500 ms p99 500 ms"
    assert words(first) == f"this app {outcome} 0.50 a second"
    assert words(none) == "none 0 answered, 0 lost, 0 wrong, 0 refused 0.00 a second"
    assert words(last) == f"at once {outcome}"


METRICS = """
vitdemo_model_wait_seconds_bucket{kind="short",le="0.1"} 90.0
vitdemo_model_wait_seconds_bucket{kind="short",le="0.5"} 99.0
vitdemo_model_wait_seconds_bucket{kind="short",le="+Inf"} 100.0
vitdemo_model_wait_seconds_bucket{kind="long",le="9"} 100.0
vitdemo_model_wait_seconds_sum{kind="short"} 25.0
vitdemo_model_wait_seconds_count{kind="short"} 100.0
vitdemo_model_wait_seconds_sum{kind="long"} 1.0
"""


def test_an_apps_disk_memory_and_waits(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(bytes(1_500_000))
    (tmp_path / "b").write_bytes(bytes(500_000))
    app = load._App("http://app", SimpleNamespace(pid=os.getpid()), tmp_path)
    assert app.disk() == 2
    monkeypatch.setattr(urllib.request, "urlopen", lambda address, timeout: BytesIO(METRICS.encode() * (address == "http://app/metrics")))
    assert app.waits() == {"mean": 0.25, "most": 0.5}
    alone = app.memory()
    child = subprocess.Popen(["sleep", "60"])
    try:
        own = load._resident(child.pid) / 1e6
        assert 0 < own < 50
        assert app.memory() == pytest.approx(alone + own, rel=0.05)
    finally:
        child.kill()
        child.wait()
    assert alone >= 0.8 * load._resident(os.getpid()) / 1e6  # other tests' children may be there as well
    assert load._resident(child.pid) == 0


class Process:
    """A process that ends at a time, or when it is told."""

    def __init__(self, clock, end: float):
        self.clock, self.end, self.log = clock, end, []

    def poll(self):
        return 0 if self.log or self.clock.now >= self.end else None

    def terminate(self) -> None:
        self.log.append("terminate")

    def wait(self, seconds: float) -> None:
        self.log.append(seconds)


def test_an_app_is_waited_for_and_ended(tmp_path, monkeypatch, clock_of):
    clock, made = clock_of(load), []
    begin, process = clock.now, Process(clock, 1e9)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/elsewhere")

    def start(command, env, stdout):
        made.append((command, env))
        return process

    def open_(address: str, timeout: float):
        assert address.endswith("/config")
        if clock.now < begin + 3:
            raise urllib.error.URLError("refused")
        return BytesIO()

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(urllib.request, "urlopen", open_)
    with load._app("app.py", str(tmp_path)) as app:
        assert clock.now == pytest.approx(begin + 3, abs=0.21)
        assert (app.process, process.log) == (process, [])
    assert process.log == ["terminate", 60]
    ((command, environ),) = made
    assert command[1:] == [str(ROOT / "app.py"), *command[2:]]
    assert command[2:4] == ["--model", "demo"]
    assert command[4:6] == ["--port", app.url.rsplit(":", 1)[1]]
    assert command[-1] == str(tmp_path / "app.py") == environ["GRADIO_TEMP_DIR"]
    assert "OMP_NUM_THREADS" not in environ
    assert environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_an_app_that_does_not_start_is_said(tmp_path, monkeypatch, clock_of):
    clock = clock_of(load)

    def refuse(*_, **__):
        raise urllib.error.URLError("refused")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name, end, seconds in (("app.py", clock.now + 2, 2), ("bare", 1e9, load.START)):
        begin, process = clock.now, Process(clock, end)
        monkeypatch.setattr(subprocess, "Popen", lambda *_, process=process, **__: process)
        with pytest.raises(RuntimeError, match=f"^{name} did not start$"), load._app(name, str(tmp_path)):
            pass
        assert clock.now == pytest.approx(begin + seconds, abs=0.5)
        assert process.log == ([] if name == "app.py" else ["terminate", 60])  # the first had ended by itself


def test_every_kind_is_tried_before_the_load(truth, monkeypatch):
    tried = []

    class Client:
        def __init__(self, **_):
            pass

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        async def get(self, path: str):
            return httpx.Response(200, json={"named_endpoints": {"/classify": {}, "/finetune": {}}})

    async def once(client, kind: Kind, number: int, tally: Tally) -> None:
        tried.append(kind.name)
        if kind.name == "fine-tuning":
            *_, right = await kind.ask(client, number)
            tally.wrong[kind.name] += not right([{"classes": ["a"], "accuracy": 0.5}])
        if kind.name == bad:
            tally.said.add("no")

    async def sent(client, name: str, data: bytes) -> str:
        return name

    monkeypatch.setattr(httpx, "AsyncClient", Client)
    monkeypatch.setattr(load, "ask_once", once)
    monkeypatch.setattr(load, "upload", sent)
    bad = ""
    assert finished(load._warm("http://app", truth)) == {"fine-tuning": (["a"], 0.5)}
    assert tried == ["classify", "attention", "gallery of 100", "fine-tuning"]  # the app offers no export
    finished(load._warm_bare("http://app", truth))
    bad = "attention"
    with pytest.raises(RuntimeError, match=r"attention does not work: \{'no'\}"):
        finished(load._warm("http://app", truth))
    bad = "classify"
    with pytest.raises(RuntimeError, match="the bare app does not work"):
        finished(load._warm_bare("http://app", truth))


def test_zips_hold_what_they_are_made_of():
    import zipfile

    photos = unseen()
    assert len({name.split("/")[0] for name in photos}) == 3
    with zipfile.ZipFile(BytesIO(zipped(photos))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == photos


def test_a_whole_day_of_known_outcomes(truth, monkeypatch, capsys):
    log, memory = [], iter([100.0, 110.0, 120.0])

    class App:
        def __init__(self, which: str):
            self.url = which

        def memory(self) -> float:
            return next(memory)

        def disk(self) -> float:
            return 7.0

        def waits(self) -> dict:
            return {"mean": 0.25, "most": 0.5}

        def end(self) -> None:
            log.append(("end", self.url))

    @contextmanager
    def app(which: str, home: str):
        yield App(which)

    async def warm(url: str, known: Known) -> dict:
        log.append(("warm", url))
        return {}

    async def visit(url: str, kinds: list[Kind], tally: Tally, seconds: float) -> float:
        log.append((url, {kind.name: kind.visitors for kind in kinds}, seconds))
        tally.seconds["classify"] += [0.5]
        return seconds

    async def crowd(url: str, kind: Kind, tally: Tally, count: int) -> None:
        log.append(("crowd", url, kind.name, kind.visitors, count))
        tally.refused["classify"] += 1
        tally.said.add("classify: The app is busy")

    for name, value in {"known": lambda: truth, "_app": app, "_warm": warm, "_warm_bare": warm, "visit": visit, "crowd": crowd}.items():
        monkeypatch.setattr(load, name, value)
    with ThreadPoolExecutor(1) as thread:  # this one may have the event loop of a browser's tests
        found = thread.submit(load.run, runs=9, minutes=2.0, clients=10).result()
    mixed = {"classify": 5, "attention": 2, "gallery of 100": 1}  # the app offers neither fine-tuning nor export
    assert log == [
        *(("warm", "app.py"), ("warm", "bare")),
        *2 * (("app.py", {"classify": 10}, 12.0), ("bare", {"classify": 10}, 12.0)),  # a tenth of the time, twice at most
        ("end", "bare"),
        *2 * (("app.py", mixed, 60.0),),
        ("crowd", "app.py", "classify", 1, 300),
    ]
    row = {"answered": 2, "lost": 0, "wrong": 0, "refused": 0, "p50": 0.5, "p95": 0.5, "p99": 0.5}
    assert found == {
        "this app": row,
        "bare Gradio and timm": row,
        "mixed": {"classify": row},
        "crowd": {"answered": 0, "lost": 0, "wrong": 0, "refused": 1, "p50": None, "p95": None, "p99": None},
        "memory_mb": [100.0, 110.0, 120.0],
        "disk_mb": [7.0] * 3,
        "short_wait": {"mean": 0.25, "most": 0.5},
    }
    said = capsys.readouterr().out
    assert "classification alone, 10 clients, 24 s each in turn\n" in said
    assert "everything mixed, 10 clients, 2 minutes\n" in said
    assert "300 classifications at the same moment, of which 100 may wait\n" in said
    assert "  said: classify: The app is busy\n" in said
    assert "short work waited for the model 250 ms on average, and at most 0.5 s in 99 of 100\n" in said


def test_a_classification_names_its_photo(truth, monkeypatch):
    async def sent(client, name: str, data: bytes) -> str:
        return name

    monkeypatch.setattr(load, "upload", sent)
    names = list(truth.photos)
    kind = load._classify(truth, 3)
    assert (kind.name, kind.visitors) == ("classify", 3)
    endpoint, data, right = finished(kind.ask(None, len(names) + 1))  # after the last comes the first
    assert (endpoint, data) == ("classify", {"photo": Path(names[1]).name})
    best = max(range(len(truth.labels)), key=truth.probabilities[names[1]].__getitem__)
    assert right([{"predictions": [{"label": truth.labels[best], "probability": truth.probabilities[names[1]][best]}]}])
