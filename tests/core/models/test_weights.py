"""Weights: from the hub with the real client against a local stand-in, from its cache, and from nowhere."""

import contextlib
import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import timm
import torch
from huggingface_hub import errors
from safetensors.torch import save_file

from tests.support.apps import ROOT, TINY
from tests.support.hub import Hub
from tests.support.waiting import until
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.models import weights

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


@pytest.mark.app
def test_first_download_reports_progress_and_leaves_a_whole_file(environ, hub, model_file):
    answer = fetch(environ)
    assert Path(answer["path"]).read_bytes() == model_file.read_bytes()
    size = model_file.stat().st_size
    assert answer["progress"][0][0] == "contact"
    assert answer["progress"][-1] == ["download", size, size]


@pytest.mark.app
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


@pytest.mark.app
def test_a_dropped_connection_goes_on_where_it_stopped(environ, hub, model_file):
    hub.behave, hub.break_after = "break", 6 << 20
    answer = fetch(environ)
    assert Path(answer["path"]).read_bytes() == model_file.read_bytes()
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for method, _, asked in hub.requests if method == "GET" and asked]
    assert starts == sorted(set(starts))  # each attempt begins further on
    assert starts[0] > 0
    assert hub.sent == model_file.stat().st_size  # and no byte came twice


@pytest.mark.app
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


@pytest.mark.app
def test_a_silent_hub_is_given_up_in_time(environ, hub):
    hub.behave = "silent"
    answer = fetch(environ, timeout=1.5)
    assert answer["kind"] == "HubUnreachable"
    assert answer["error"].startswith("The model hub did not answer within 1.5 s: choose a model that is on this machine already")
    assert 1.4 < answer["seconds"] < 3


@pytest.mark.app
def test_no_network_at_all(environ):
    with socket.socket() as free:  # a port on which nobody listens
        free.bind(("127.0.0.1", 0))
        environ["HF_ENDPOINT"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    answer = fetch(environ)
    assert answer["kind"] == "HubUnreachable"
    assert answer["error"].startswith("The model hub can't be reached: choose a model that is on this machine already")
    assert answer["seconds"] < 5


@pytest.mark.app
def test_a_name_the_hub_does_not_have(environ):
    answer = fetch(environ, repo="timm/vit_of_nowhere")
    assert (answer["kind"], answer["error"]) == (
        "UsageError",
        "The hub has no model timm/vit_of_nowhere: check the name, or set HF_TOKEN if it is private.",
    )


@pytest.mark.app
def test_a_file_that_is_not_what_the_hub_promised(environ, hub, model_file):
    hub.behave = "lie"
    answer = fetch(environ)
    assert answer["error"].startswith(f"What arrived for {REPO} is not the file the hub promised")
    hub.behave = "well"
    assert Path(fetch(environ)["path"]).read_bytes() == model_file.read_bytes()  # nothing broken stayed in the cache


def classify(environ, picture, *flags) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vitdemo", "classify", str(picture), "--model", TINY, *flags]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.app
def test_second_start_from_the_cache_with_the_hub_gone(environ, hub, picture):
    first = classify(environ, picture)
    assert first.returncode == 0, first.stderr
    assert "weights from the hub, downloaded now" in first.stderr
    hub.close()
    second = classify(environ, picture)
    assert second.returncode == 0, second.stderr
    assert "weights from the hub cache on this machine" in second.stderr
    assert second.stdout == first.stdout


@pytest.mark.app
def test_a_download_that_is_no_model_is_said_and_not_kept(environ, hub, picture, tmp_path):
    page = tmp_path / "login.html"
    page.write_text("<html>Please log in to the hotel's network</html>")
    whole, hub.files[f"{REPO}/model.safetensors"] = hub.files[f"{REPO}/model.safetensors"], page
    answer = classify(environ, picture)
    assert answer.returncode == 1
    assert "is not a valid SafeTensors file" in answer.stderr.splitlines()[-1]
    hub.files[f"{REPO}/model.safetensors"] = whole
    assert classify(environ, picture).returncode == 0


class Downloads:
    """In place of hf_hub_download: each attempt brings so many bytes, then fails with its error; the last one gives the file."""

    def __init__(self, path: Path, *attempts: tuple[int, Exception]):
        self.path, self.attempts, self.timeouts, self.arrived = path, list(attempts), [], 0

    def __call__(self, repo: str, filename: str, *, etag_timeout: float, tqdm_class: type) -> str:
        self.timeouts.append((repo, filename, etag_timeout))
        bar = tqdm_class(total=100, initial=self.arrived, disable=True)
        if not self.attempts:
            bar.update(100 - self.arrived)
            return str(self.path)
        count, error = self.attempts.pop(0)
        if count:
            bar.update(count)
            self.arrived += count
        raise error


@pytest.fixture
def download(tmp_path, monkeypatch):
    """download(attempts) fetches a file → its path, the Downloads, all progress, and the seconds waited."""
    (tmp_path / "file").write_bytes(b"weights")
    monkeypatch.setattr(weights, "_first_contact", lambda *_: None)

    def run(*attempts):
        downloads, seen, waited = Downloads(tmp_path / "file", *attempts), [], []
        monkeypatch.setattr(weights, "hf_hub_download", downloads)
        monkeypatch.setattr(weights, "time", SimpleNamespace(sleep=waited.append))
        path = weights.fetch(
            "timm/x", "model.safetensors", timeout=7, on_progress=lambda step: seen.append((step.stage, step.done, step.total))
        )
        return path, downloads, seen, waited

    return run


BROKEN = httpx.ReadError("the connection\n broke")


def test_progress_goes_on_from_what_has_arrived(download, tmp_path):
    path, downloads, seen, waited = download((30, BROKEN), (20, BROKEN))
    assert path == tmp_path / "file"
    assert downloads.timeouts == [("timm/x", "model.safetensors", 7)] * 3
    assert seen == [("contact", 0, 0), *(("download", done, 100) for done in (30, 50, 100))]
    assert waited == [1, 1]


def test_three_attempts_without_a_byte_are_the_end(download):
    said = r"The download of timm/x broke off \(the connection broke\): try again, it goes on from where it stopped"
    with pytest.raises(UserError, match=said):
        download(*[(0, BROKEN)] * 3)
    assert download(*[(0, BROKEN)] * 2)[3] == [1, 1]
    with pytest.raises(UserError, match=said):
        download((0, BROKEN), (0, BROKEN), (5, BROKEN), *[(0, BROKEN)] * 3)  # a byte begins the count anew
    assert len(download((0, BROKEN), (0, BROKEN), (5, BROKEN), (0, BROKEN), (0, BROKEN))[3]) == 5


def test_a_full_disk_is_not_tried_again(download):
    with pytest.raises(UserError, match=r"broke off \(.*No space left on device\)"):
        download((5, OSError(28, "No space left on device")))


def test_a_file_is_checked_by_the_hash_that_names_it(tmp_path):
    for content, right in ((b"weights", True), (b"something else", False)):
        blob = tmp_path / hashlib.sha256(b"weights").hexdigest()
        blob.write_bytes(content)
        link = tmp_path / "model.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        if right:
            weights._check_hash(link, "timm/x")
            assert link.exists()
        else:
            with pytest.raises(UserError, match="What arrived for timm/x is not the file the hub promised"):
                weights._check_hash(link, "timm/x")
            assert not blob.exists()
            assert not link.is_symlink()
    (tmp_path / "etag").write_bytes(b"small files have no hash")
    weights._check_hash(tmp_path / "etag", "timm/x")


ANSWER = httpx.Response(404, request=httpx.Request("GET", "https://hub"))


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            errors.GatedRepoError("x", response=ANSWER),
            UserError,
            "timm/x is given out by its owner on request: ask at https://huggingface.co/timm/x, then set HF_TOKEN.",
        ),
        (errors.RepositoryNotFoundError("x", response=ANSWER), UsageError, "The hub has no model timm/x: check the name, or set HF_TOKEN"),
        (errors.RemoteEntryNotFoundError("x", response=ANSWER), weights.NotInRepository, "The hub has no model.safetensors for timm/x"),
        (errors.HFValidationError("x"), UsageError, "timm/x is not a name the hub can have"),
        (errors.OfflineModeIsEnabled("x"), weights.HubUnreachable, "The model hub is switched off (HF_HUB_OFFLINE): choose"),
        (errors.FileMetadataError("x"), weights.HubUnreachable, "The model hub can't be reached: choose"),
        (httpx.ConnectError("x"), weights.HubUnreachable, "The model hub can't be reached: choose"),
        (OSError("x"), weights.HubUnreachable, "The model hub can't be reached: choose"),
    ],
)
def test_why_the_hub_can_not_be_asked(error, kind, sentence, monkeypatch):
    def refuse(url: str, timeout: float):
        raise error

    monkeypatch.setattr(weights, "get_hf_file_metadata", refuse)
    with pytest.raises(UserError) as said:
        weights._first_contact("timm/x", "model.safetensors", 3)
    assert str(said.value).startswith(sentence)
    assert type(said.value) is kind


def test_a_hub_that_says_nothing_is_given_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(weights, "get_hf_file_metadata", lambda url, timeout: release.wait(60))
    with pytest.raises(weights.HubUnreachable, match=r"The model hub did not answer within 0\.05 s"):
        weights._first_contact("timm/x", "model.safetensors", 0.05)
    release.set()
