"""What the server tells of itself, and what it lets browsers do."""

import json
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.apps import ask_by_client
from vitdemo.ui.server.security_headers import HEADERS

CLASSIFY = """
import json, sys
from gradio_client import Client, handle_file
print(json.dumps(Client(sys.argv[1], verbose=False).predict(handle_file(sys.argv[2]), api_name="/classify")))
"""


@pytest.fixture(scope="module")
def watched(start_app, bundle):
    server = start_app("--model", f"local-dir:{bundle}", "--monitor", "--host", "0.0.0.0")
    yield server
    server.stop()


def fetch(url: str):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode(), answer.headers


def figures(server) -> dict:
    """(name, labels) → value."""
    families = text_string_to_metric_families(fetch(f"{server.url}/metrics")[0])
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples}


def test_requests_and_the_models_work_are_counted_without_anything_a_visitor_gave(watched, picture, tmp_path):
    mine = tmp_path / "my secret photo.png"
    mine.write_bytes(picture.read_bytes())
    before = figures(watched)
    ask_by_client(CLASSIFY, watched, str(mine))
    after = figures(watched)
    work = ("vitdemo_model_seconds_count", (("kind", "short"),))
    assert after[work] - before.get(work, 0) == 1
    assert after["vitdemo_queue_length", ()] == 0
    assert after["process_resident_memory_bytes", ()] > 1e8
    upload = ("vitdemo_requests_total", (("route", "/gradio_api/upload"), ("status", "200")))
    assert after[upload] - before.get(upload, 0) == 1
    with pytest.raises(urllib.error.HTTPError):
        fetch(f"{watched.url}/gradio_api/file=/my%20secret%20place")
    text, _ = fetch(f"{watched.url}/metrics")
    assert "secret" not in text


def waits_for_the_model(server) -> None:
    for _ in range(600):
        if json.loads(fetch(f"{server.url}/health")[0])["model"] != "loading":
            return
        time.sleep(0.1)


def test_health_says_whether_there_is_a_model(watched, start_app, tmp_path):
    waits_for_the_model(watched)
    assert json.loads(fetch(f"{watched.url}/health")[0])["model"] == "ready"
    without = start_app("--model", f"local-dir:{tmp_path}", "--monitor")
    with pytest.raises(urllib.error.HTTPError) as failed:  # once it has failed
        waits_for_the_model(without)
    assert failed.value.code == 503
    assert json.loads(failed.value.read())["model"] == "failed"
    without.stop()


def test_an_app_open_to_others_says_so_and_monitoring_is_off_unless_asked_for(watched, app):
    assert "everyone who reaches 0.0.0.0 can use it: --auth USER:PASSWORD asks for a login" in watched.log.read_text()
    assert "everyone" not in app.log.read_text()
    for path in ("health", "metrics", "monitoring", "docs"):
        with pytest.raises(urllib.error.HTTPError):
            fetch(f"{app.url}/{path}")


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info"])
def test_browsers_are_told_to_load_from_here_alone(app, path):
    headers = fetch(f"{app.url}{path}")[1]
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "http" not in headers["content-security-policy"]
