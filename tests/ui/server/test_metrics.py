"""What the server tells of itself, and what it lets browsers do."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.apps import app_in_process
from tests.support.http import Visitor
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.ui.server.response_headers import HEADERS


@pytest.fixture(scope="module")
def watched(bundle, tmp_path_factory):
    settings = Settings(model=f"local-dir:{bundle}", port=0, monitor=True, temp_dir=tmp_path_factory.mktemp("watched"))
    with app_in_process(settings) as client:
        yield client


def figures(client) -> dict:
    """(name, labels) → value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_requests_and_the_models_work_are_counted_without_anything_a_visitor_gave(watched, picture):
    visitor, before = Visitor(watched), figures(watched)
    path = visitor.upload("my secret photo.png", picture.read_bytes())
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "my secret photo.png"}
    assert "event: complete" in visitor.call("classify", [photo, "", 3, None])
    after = figures(watched)
    work = ("vitdemo_model_seconds_count", (("kind", "short"),))
    assert after[work] - before.get(work, 0) == 1
    assert after["vitdemo_queue_length", ()] == 0
    assert after["process_resident_memory_bytes", ()] > 1e8
    upload = ("vitdemo_requests_total", (("route", "/gradio_api/upload"), ("status", "200")))
    assert after[upload] - before.get(upload, 0) == 1
    seconds = ("vitdemo_request_seconds_count", (("route", "/gradio_api/upload"),))
    assert after[seconds] - before.get(seconds, 0) == 1
    assert watched.get("/gradio_api/file=/my%20secret%20place").status_code == 403
    assert "secret" not in watched.get("/metrics").text


def test_health_says_that_there_is_a_model(watched):
    until(lambda: watched.get("/health").json()["model"] != "loading")
    assert watched.get("/health").json()["model"] == "ready"


def test_health_says_that_there_is_none(tmp_path):
    with app_in_process(Settings(model=f"local-dir:{tmp_path}", port=0, monitor=True)) as client:
        until(lambda: client.get("/health").json()["model"] != "loading")
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["model"]) == (503, "failed")


def test_monitoring_is_off_unless_asked_for(bundle):
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0)) as client:
        for path in ("health", "metrics", "monitoring", "docs"):
            assert client.get(f"/{path}").status_code == 404


@pytest.mark.app
def test_an_app_open_to_others_says_so(start_app, app, bundle):
    server = start_app("--model", f"local-dir:{bundle}", "--host", "0.0.0.0")
    assert "everyone who reaches 0.0.0.0 can use it: --auth USER:PASSWORD asks for a login" in server.log.read_text()
    assert "everyone" not in app.log.read_text()
    server.stop()


def test_browsers_are_told_to_load_from_here_alone(watched):
    for path in ("/", "/config", "/gradio_api/info", "/nothing/here"):
        headers = watched.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS, path
        assert "http" not in headers["content-security-policy"], path


def test_leaving_is_said(bundle):
    """By /health, and to everyone who wants to begin something."""
    import threading

    leaving = threading.Event()
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0, monitor=True), leaving) as client:
        assert client.post("/gradio_api/call/classify", json={"data": []}).status_code == 200
        leaving.set()
        assert (client.get("/health").status_code, client.get("/health").json()["leaving"]) == (503, True)
        answer = client.post("/gradio_api/call/classify", json={"data": []})
        assert (answer.status_code, json.loads(answer.text)["detail"]) == (503, "The app is being stopped: try again in a minute.")
        for route in ("classify/start", "embeddings/start", "embeddings/add_class", "finetune/give", "finetune/start", "export/start"):
            answer = client.post(f"/page/{route}", json={})
            assert (answer.status_code, answer.json()["error"]) == (503, "The app is being stopped: try again in a minute.")
        assert client.post("/page/classify/poll", json={}).status_code == 400
