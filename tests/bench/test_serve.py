"""The serving bench: 1,000 requests for real, on a small model, and what it makes of known answers."""

import http.server
import json
import threading
import urllib.error
import urllib.request
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.pictures import noise
from vitdemo.bench import serve
from vitdemo.cli import main
from vitdemo.core import config
from vitdemo.core.config import Settings
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.search import find_items


@pytest.mark.slow
def test_the_load_loses_nothing(tmp_path, monkeypatch, capsys):
    for number in range(6):
        noise(90, 70, number).save(tmp_path / f"{number}.jpg")
    monkeypatch.setattr(config, "SHARED", tmp_path / "none")
    monkeypatch.setattr(serve, "REQUESTS", 60)
    assert main(["bench", "serve", "--runs", "2", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["serve"]
    assert (figures["lost"], figures["wrong"]) == (0, 0)
    assert 0 < figures["p50"] <= figures["p99"]
    assert "lost 0, wrong 0" in capsys.readouterr().out


def test_a_wrong_answer_is_counted(capsys):
    rows = [{"index": 1, "probability": 0.9}, {"index": 0, "probability": 0.1}]
    answers = [(number, 0.01, 200, rows) for number in range(serve.REQUESTS - 1)] + [(999, 0.01, 503, [])]
    found = serve._report("model", answers, [[0.1, 0.9], [0.9, 0.1]], 10, 200)
    assert (found["lost"], found["wrong"]) == (1, serve.REQUESTS // 2 - 1)
    assert found["requests_per_second"] == serve.REQUESTS / 10
    assert found["bare_per_second"] == 200
    assert f"{serve.REQUESTS / 2000:.0%} of it" in capsys.readouterr().out


def test_an_answer_is_right_by_its_first_class_and_all_probabilities(monkeypatch):
    monkeypatch.setattr(serve, "REQUESTS", 4)
    truth = [[0.25, 0.5, 0.125]]
    rows = [{"index": 1, "probability": 0.5}, {"index": 0, "probability": 0.25}]
    cases = [rows, rows[::-1], [rows[0] | {"probability": 0.5002}, rows[1]], [rows[0] | {"probability": 0.50005}, rows[1]]]
    answers = [(number, seconds, 200, each) for number, (seconds, each) in enumerate(zip((4.0, 1.0, 3.0, 2.0), cases, strict=True))]
    assert serve._report("m", answers, truth, 2, 4) == {
        "lost": 0,
        "wrong": 2,
        "p50": 3.0,
        "p99": 4.0,
        "requests_per_second": 2.0,
        "bare_per_second": 4,
    }


def test_every_request_is_sent_once_and_its_loss_noted(monkeypatch):
    lock, sent = threading.Lock(), []

    def post(port: int, data: bytes):
        with lock:
            sent.append(data)
            number = len(sent)
        if number == 5:
            raise ConnectionResetError
        return (503, []) if number == 7 else (200, [{"predictions": [data.decode()]}])

    monkeypatch.setattr(serve, "REQUESTS", 20)
    monkeypatch.setattr(serve, "_post", post)
    answers = serve._load(1, [b"a", b"b", b"c"])
    assert sorted(number for number, *_ in answers) == list(range(20))
    assert sorted(status for _, _, status, _ in answers) == [0] + [200] * 18 + [503]
    for number, seconds, status, predictions in answers:
        assert predictions == (["abc"[number % 3]] if status == 200 else [])
        assert seconds >= 0
    assert (sent.count(b"a"), sent.count(b"b"), sent.count(b"c")) == (7, 7, 6)


def test_a_photo_is_posted_as_a_form():
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append((self.path, self.headers["content-type"], self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(418)
            self.end_headers()
            self.wfile.write(b"[1]")

        def log_message(self, *_) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert serve._post(server.server_port, b"photo") == (418, [1])
    thread.join()
    server.server_close()
    ((path, kind, body),) = seen
    edge = kind.removeprefix("multipart/form-data; boundary=").encode()
    assert path == "/predict?top=5"
    assert body.startswith(b"--" + edge + b'\r\nContent-Disposition: form-data; name="files"; filename="')
    assert body.endswith(b"\r\n\r\nphoto\r\n--" + edge + b"--\r\n")


@pytest.fixture
def items(tmp_path):
    for number in range(3):
        noise(40, 30, number).save(tmp_path / f"{number}.png")
    return find_items([tmp_path])


def test_the_truth_is_the_models_own_answer(items, vit, engine, settings):
    found = serve._expected(vit, engine, items[1], settings)
    tensor = vit.preprocessing(open_photo(items[1].path, settings).image)
    assert found == pytest.approx(vit.module(tensor[None])[0].softmax(-1).tolist(), abs=1e-6)
    assert sum(found) == pytest.approx(1)


def test_the_bare_runtime_is_timed_without_its_first_run(items, vit, settings, tmp_path, monkeypatch, clock_of):
    import onnxruntime

    clock, ran, made = clock_of(serve), [], []

    class Session:
        def __init__(self, path, options, providers):
            made.append((path, options.intra_op_num_threads, providers))

        def run(self, outputs, inputs) -> None:
            clock.pass_(0.5)
            ran.append(inputs["image"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(serve.os, "cpu_count", lambda: 1)
    assert serve._bare(tmp_path, vit, items, settings) == 2  # three photos in one and a half seconds
    assert made == [(tmp_path / "model.onnx", 1, ["CPUExecutionProvider"])]
    inputs = [vit.preprocessing(open_photo(item.path, settings).image)[None].numpy() for item in items]
    assert all(np.array_equal(one, other) for one, other in zip(ran, [inputs[0], *inputs], strict=True))


def test_a_server_is_waited_for_and_ended(tmp_path, monkeypatch, clock_of):
    clock, log = clock_of(serve), []
    begin = clock.now
    process = SimpleNamespace(
        poll=lambda: 1 if clock.now > begin + 50 else None,
        terminate=lambda: log.append("terminate"),
        wait=lambda seconds: log.append(seconds),
    )
    monkeypatch.setattr(serve.subprocess, "Popen", lambda command, cwd: log.append((command[1:5], command[5], cwd)) or process)

    def open_(address: str, timeout: float):
        if clock.now < begin + ready:
            raise urllib.error.URLError("refused")
        assert address.endswith("/ready")
        return BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", open_)
    ready = 1
    with serve._server(tmp_path) as port:
        assert clock.now == pytest.approx(begin + 1, abs=0.06)
        assert log == [(["-m", "uvicorn", "server:app", "--port"], str(port), tmp_path)]
    assert log[1:] == ["terminate", 30]
    ready = 100
    with pytest.raises(RuntimeError, match="did not get ready"), serve._server(tmp_path):
        pass
    assert log[4:] == ["terminate", 30]


def test_what_is_run_in_which_order(items, vit, engine, monkeypatch, tmp_path):
    from vitdemo.core.inference import model_store
    from vitdemo.export import bundle

    log = []
    store = SimpleNamespace(get=lambda: SimpleNamespace(result=lambda: vit), engine=engine)
    monkeypatch.setattr(config, "SHARED", tmp_path / "none")
    monkeypatch.setattr(model_store, "ModelStore", lambda settings: log.append(settings) or store)
    monkeypatch.setattr(serve, "PHOTOS", 2)
    monkeypatch.setattr(bundle, "export", lambda *arguments, photos: log.append((arguments[2].kits, len(photos))) or iter(()))
    bare = iter([100.0, 300.0, 200.0])
    monkeypatch.setattr(serve, "_bare", lambda *_: log.append("bare") or next(bare))
    monkeypatch.setattr(serve, "_server", lambda folder: log.append(folder.name) or _Open())
    monkeypatch.setattr(serve, "_post", lambda port, data: log.append(("warm", port)))
    monkeypatch.setattr(serve, "_load", lambda port, data: log.append(("load", port, len(data))) or [])
    monkeypatch.setattr(
        serve, "_report", lambda name, answers, wanted, seconds, speed: {"name": name, "photos": len(wanted), "bare": speed}
    )
    assert serve.run(runs=3, photos=tmp_path) == {"name": vit.name, "photos": 2, "bare": 200.0}
    assert log == [Settings(model="demo"), (("fastapi",), 2), "bare", "bare", "bundle", ("warm", 7), ("load", 7, 2), "bare"]


class _Open:
    """In place of a server at port 7."""

    def __enter__(self) -> int:
        return 7

    def __exit__(self, *_) -> None:
        pass
