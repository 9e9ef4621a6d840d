"""The log as JSON: every line one object, and nothing of a visitor's in any of them."""

import json
import logging

import pytest

from tests.support.apps import app_in_process
from tests.support.http import Visitor
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.ui.server.json_log import JsonFormatter


@pytest.fixture
def lines(start_app, bundle, picture, tmp_path):
    """What an app has logged of a visitor with a secret name in all they send."""
    server = start_app("--model", f"local-dir:{bundle}", "--log-json")
    visitor = Visitor(server)
    visitor.session = "secret"
    path = visitor.upload("secret.png", picture.read_bytes())
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "secret.png"}
    assert "event: complete" in visitor.call("classify", [photo, "", 3, None])
    assert "event: complete" in visitor.call("classify", [None, "", 3, [photo]])
    visitor.call("classify", [photo, "secret", "secret", None])
    visitor.join(2, ["secret"], "secret")
    visitor.send("GET", "/gradio_api/file=/secret?secret=secret")
    visitor.send("POST", "/page/classify/poll", b"secret")
    visitor.send("SECRET", "/")  # some HTTP parsers take it for a method, others for no request at all
    visitor.send("PROPFIND", "/secret")
    until(lambda: '"other"' in server.log.read_text())  # a line is written once its answer has gone
    server.stop()
    return server.log.read_text().splitlines()


@pytest.mark.app
def test_lines_are_objects_without_a_visitors_words(lines):
    assert not any("secret" in line.lower() or "uploads" in line for line in lines)
    found = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line.split()[0] for line in lines if not line.startswith("{")] == ["vitdemo", "bundle0"]  # for the terminal: open, ready
    events = {each["event"] for each in found}
    assert {"open", "model ready", "request", "gallery", "leaving"} <= events
    requests = [each for each in found if each["event"] == "request"]
    assert {("POST", "/gradio_api/upload", 200), ("POST", "/gradio_api/call/{api_name}", 200)} <= {
        (each["method"], each["route"], each["status"]) for each in requests
    }
    assert "other" in {each["method"] for each in requests}
    assert all(0 <= each["seconds"] < 120 for each in requests)
    (gallery,) = (each for each in found if each["event"] == "gallery")
    assert (gallery["state"], gallery["photos"]) == ("done", 1)


def test_an_exception_is_its_type_and_its_place():
    try:
        raise ValueError("secret")
    except ValueError as error:
        record = logging.LogRecord(
            "vitdemo.x", logging.ERROR, "x.py", 3, "fault %s", ("secret",), (type(error), error, error.__traceback__)
        )
    record.fault = "abc123"
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["fault"], line["exception"], line["level"]) == ("fault %s", "abc123", "ValueError", "error")
    assert line["at"][0].startswith("test_json_log.py ")
    assert "secret" not in json.dumps(line)


def test_others_messages_are_left_out():
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "server.py", 7, "secret", (), None)
    assert json.loads(JsonFormatter().format(record))["event"] == "uvicorn.error, server 7"


def test_a_request_is_a_line_with_its_route_not_its_address(bundle, caplog):
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0, log_json=True)) as client, caplog.at_level(logging.INFO, "vitdemo"):
        client.get("/config?secret=1")
        client.request("SECRET", "/secret")
    requests = [record for record in caplog.records if record.msg == "request"]
    asked = [(record.method, record.route, record.status) for record in requests]  # Gradio's start asks too, and may be late
    assert [each for each in asked if each[1] in ("/config", "none")] == [("GET", "/config", 200), ("other", "none", 404)]
    assert all("secret" not in JsonFormatter().format(record).lower() for record in requests)
