"""Weights: from the hub with the real client against a local stand-in, from its cache, and from nowhere."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.support.apps import ROOT, TINY
from tests.support.hub import Hub
from tests.support.waiting import until

pytestmark = pytest.mark.app

REPO = f"timm/{TINY}"

FETCH = """
import json, sys, time
from tests.support.waiting import until
from vitdemo.core.models import weights
seen, begin = [], time.monotonic()
try:
    path = weights.fetch(sys.argv[1], "model.safetensors", timeout=float(sys.argv[2]), on_progress=seen.append)
    answer = {"path": str(path)}
except weights.UserError as error:
    answer = {"error": str(error), "kind": type(error).__name__}
answer["seconds"] = time.monotonic() - begin
answer["progress"] = [[each.stage, each.done, each.total] for each in seen]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A real model file: a ViT-Tiny as timm lays it out, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(timm.create_model(TINY).state_dict(), path, {"format": "pt"})
    return path


@pytest.fixture
def hub(model_file):
    hub = Hub({f"{REPO}/model.safetensors": model_file})
    yield hub
    hub.close()


@pytest.fixture
def environ(tmp_path, hub):
    """A user's environment with an empty cache, whose hub is the stand-in."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "VITDEMO_"))} | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": hub.url,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }


def fetch(environ, repo=REPO, timeout=5.0) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", FETCH, repo, str(timeout)], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"terminal": done.stderr}


def test_first_download_reports_progress_and_leaves_a_whole_file(environ, hub, model_file):
    answer = fetch(environ)
    assert Path(answer["path"]).read_bytes() == model_file.read_bytes()
    size = model_file.stat().st_size
    assert answer["progress"][0][0] == "contact"
    assert answer["progress"][-1] == ["download", size, size]


def test_the_terminal_shows_a_bar(environ, hub):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    subprocess.run([sys.executable, "-c", FETCH, REPO, "5"], env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs, timeout=120)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal's output is an error on Linux
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert b"model.safetensors: 100%" in shown


def test_a_dropped_connection_goes_on_where_it_stopped(environ, hub, model_file):
    hub.behave, hub.break_after = "break", 6 << 20
    answer = fetch(environ)
    assert Path(answer["path"]).read_bytes() == model_file.read_bytes()
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for method, _, asked in hub.requests if method == "GET" and asked]
    assert starts == sorted(set(starts))  # each attempt begins further on
    assert starts[0] > 0
    assert hub.sent == model_file.stat().st_size  # and no byte came twice


def test_a_killed_process_goes_on_where_it_stopped(environ, hub, model_file):
    hub.behave = "slow"
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, REPO, "5"], env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: hub.sent >= 12 << 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.behave, before = "well", hub.sent
    assert before >= 12 << 20
    answer = fetch(environ)
    assert Path(answer["path"]).read_bytes() == model_file.read_bytes()
    assert hub.sent - before <= model_file.stat().st_size - (10 << 20)  # what was under way when it was killed may come twice


def test_a_silent_hub_is_given_up_in_time(environ, hub):
    hub.behave = "silent"
    answer = fetch(environ, timeout=1.5)
    assert answer["kind"] == "HubUnreachable"
    assert answer["error"].startswith("The model hub did not answer within 1.5 s: choose a model that is on this machine already")
    assert 1.4 < answer["seconds"] < 3


def test_no_network_at_all(environ):
    with socket.socket() as free:  # a port on which nobody listens
        free.bind(("127.0.0.1", 0))
        environ["HF_ENDPOINT"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    answer = fetch(environ)
    assert answer["kind"] == "HubUnreachable"
    assert answer["error"].startswith("The model hub can't be reached: choose a model that is on this machine already")
    assert answer["seconds"] < 5


def test_a_name_the_hub_does_not_have(environ):
    answer = fetch(environ, repo="timm/vit_of_nowhere")
    assert (answer["kind"], answer["error"]) == ("UserError", "The hub has no model timm/vit_of_nowhere: check the name.")


def test_a_file_that_is_not_what_the_hub_promised(environ, hub, model_file):
    hub.behave = "lie"
    answer = fetch(environ)
    assert answer["error"].startswith(f"What arrived for {REPO} is not the file the hub promised")
    hub.behave = "well"
    assert Path(fetch(environ)["path"]).read_bytes() == model_file.read_bytes()  # nothing broken stayed in the cache


def classify(environ, picture, *flags) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vitdemo", "classify", str(picture), "--model", TINY, *flags]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_second_start_from_the_cache_with_the_hub_gone(environ, hub, picture):
    first = classify(environ, picture)
    assert first.returncode == 0, first.stderr
    assert "weights from the hub, downloaded now" in first.stderr
    hub.close()
    second = classify(environ, picture)
    assert second.returncode == 0, second.stderr
    assert "weights from the hub cache on this machine" in second.stderr
    assert second.stdout == first.stdout


def test_a_download_that_is_no_model_is_said_and_not_kept(environ, hub, picture, tmp_path):
    page = tmp_path / "login.html"
    page.write_text("<html>Please log in to the hotel's network</html>")
    whole, hub.files[f"{REPO}/model.safetensors"] = hub.files[f"{REPO}/model.safetensors"], page
    answer = classify(environ, picture)
    assert answer.returncode == 1
    assert "is not a valid SafeTensors file" in answer.stderr.splitlines()[-1]
    hub.files[f"{REPO}/model.safetensors"] = whole
    assert classify(environ, picture).returncode == 0


def test_read_safetensors_gives_the_file_s_tensors(model_file):
    from vitdemo.core.models.weights import read_safetensors

    ours, theirs = read_safetensors(model_file), load_file(model_file)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
