"""What goes wrong around the app: each fault is made for real, gets a clear sentence, and leaves an app that answers as before."""

import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.apps import ROOT, Server
from tests.support.http import Visitor, check, lying_about, still_right, upload
from tests.support.hub import Hub
from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.core.jobs.jobs import JOB_DIED
from vitdemo.sketches.draw import write

pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def visitor(start_app, bundle, home):
    server = start_app("--model", f"local-dir:{bundle}", "--monitor", "--temp-dir", str(home))
    server.home = home
    visitor = Visitor(server)
    visitor.server = server
    yield visitor
    server.stop()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """A zip to learn from: three classes of drawings."""
    folder = tmp_path_factory.mktemp("lesson")
    for _ in write(84, 5, folder / "drawn"):
        pass
    images = folder / "drawn" / "images"
    for each in sorted(images.iterdir())[3:]:
        shutil.rmtree(each)
    shutil.make_archive(str(folder / "lesson"), "zip", images)
    return folder / "lesson.zip"


def given(visitor, path) -> dict:
    return {"path": visitor.upload(path.name, path.read_bytes()), "meta": {"_type": "gradio.FileData"}, "orig_name": path.name}


def error_of(text: str) -> str:
    """The sentence that an endpoint's stream ends with."""
    check(text)
    return json.loads(re.search(r"event: error\ndata: (.*)", text)[1])["error"]


def children(server: Server, words: str) -> list[int]:
    """The app's child processes whose command has these words."""
    found = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [each for each in found if alive(each, server.process.pid, words)]


def alive(process: int, parent: int | None = None, words: str = "") -> bool:
    """Whether there is a process, which is this one's child and has these words in its command."""
    try:
        state, its_parent = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[:2]
        command = Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False
    return state != "Z" and words in command and parent in (None, int(its_parent))


def asking(visitor, name: str, data: list) -> tuple[threading.Thread, list[str]]:
    """Ask a named endpoint in a thread of its own."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(visitor.call(name, data)), daemon=True)
    thread.start()
    return thread, said


def test_a_connection_waits_for_its_next_request(visitor):
    """A crowded server that hung up after the usual five seconds did so just when the next request was on its way, which was lost."""
    connection = http.client.HTTPConnection(visitor.where.hostname, visitor.where.port, timeout=60)
    connection.connect()
    connection.auto_open = False  # it would connect again in silence
    for pause in (0, 6):
        time.sleep(pause)  # longer than the usual five seconds is what is tested
        connection.request("GET", "/health")
        assert json.load(connection.getresponse())["model"]
    connection.close()


LONG = {"epochs": 1000, "patience": 1000}


def test_a_killed_worker_of_fine_tuning_is_told(visitor, lesson, picture):
    thread, said = asking(visitor, "finetune", [given(visitor, lesson), "", "careful", LONG])
    until(lambda: children(visitor.server, "vitdemo finetune"), 60)
    os.kill(children(visitor.server, "vitdemo finetune")[0], signal.SIGKILL)
    thread.join(60)
    assert error_of(said[0]) == JOB_DIED
    assert still_right(visitor, picture)


def test_a_caller_that_disappears_while_its_model_learns_stops_it(visitor, lesson, picture):
    status, text = visitor.send("POST", "/gradio_api/call/finetune", {"data": [given(visitor, lesson), "", "careful", LONG]})
    assert status == 200
    connection = http.client.HTTPConnection(visitor.where.hostname, visitor.where.port, timeout=60)
    connection.request("GET", f"/gradio_api/call/finetune/{json.loads(text)['event_id']}")
    until(lambda: children(visitor.server, "vitdemo finetune"), 60)
    connection.sock.close()
    until(lambda: not children(visitor.server, "vitdemo finetune"), 90)
    assert still_right(visitor, picture)


def test_a_killed_map_process_is_told_and_the_next_map_is_drawn(visitor, lesson, picture):
    asked = [[given(visitor, lesson)], "", "final", "cls", 2, 5, 0.1, "cosine", 0, ""]
    thread, said = asking(visitor, "embed", asked)
    until(lambda: children(visitor.server, "multiprocessing"), 60)
    for each in children(visitor.server, "multiprocessing"):
        os.kill(each, signal.SIGKILL)
    thread.join(240)
    assert "event: complete" in said[0] or "process has ended by itself" in error_of(said[0])  # it may have been only getting ready
    assert '"cluster"' in visitor.call("embed", asked)
    assert still_right(visitor, picture)


def test_sigterm_lets_what_is_under_way_end(start_app, bundle, lesson, picture, tmp_path):
    """A gallery is answered in full, who comes meanwhile is told to come back, forgotten answers are not waited for, nothing is left."""
    flags = ("--monitor", "--temp-dir", str(tmp_path), "--batch-size", "1", "--drain-seconds", "600")
    server = start_app("--model", f"local-dir:{bundle}", *flags)
    visitor = Visitor(server)
    assert still_right(visitor, picture)
    assert visitor.send("POST", "/gradio_api/call/classify", {"data": [given(visitor, picture), "", 3, None]})[0] == 200
    learning = visitor.ask("finetune/give", files="examples")["session"]
    photos = [given(visitor, lesson)] * 20
    thread, said = asking(visitor, "classify", [None, "", 1, photos])
    until(lambda: 'vitdemo_model_seconds_count{kind="long"}' in visitor.send("GET", "/metrics")[1])
    server.process.terminate()
    until(lambda: visitor.send("GET", "/health")[0] == 503)
    status, text = visitor.send("POST", "/gradio_api/call/classify", {"data": [None, "", 3, None]})
    assert (status, json.loads(text)["detail"]) == (503, "The app is being stopped: try again in a minute.")
    assert upload(server, ("a.png", b"x"))[0] == 503
    assert visitor.ask("finetune/give", files="examples")["error"] == "The app is being stopped: try again in a minute."
    assert visitor.ask("finetune/poll", session=learning)["photos"]
    thread.join(60)
    assert "event: complete" in said[0]
    assert said[0].count('"photo"') == 20 * 12
    assert server.process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_sigterm_ends_what_would_take_too_long(start_app, bundle, lesson, tmp_path):
    server = start_app("--model", f"local-dir:{bundle}", "--temp-dir", str(tmp_path), "--drain-seconds", "1")
    visitor = Visitor(server)
    thread, _ = asking(visitor, "finetune", [given(visitor, lesson), "", "careful", LONG])
    until(lambda: children(server, "vitdemo finetune"), 60)
    (child,) = children(server, "vitdemo finetune")
    pages = [http.client.HTTPConnection(visitor.where.hostname, visitor.where.port, timeout=60) for _ in range(2)]
    for page, path in zip(pages, ("heartbeat/open", "queue/data?session_hash=open"), strict=True):
        page.request("GET", f"/gradio_api/{path}")
        page.getresponse().read(1)
    begin = time.monotonic()
    server.process.terminate()
    assert server.process.wait(30) == 0
    assert time.monotonic() - begin < 15
    thread.join(30)
    until(lambda: not alive(child), 40)
    assert list(tmp_path.iterdir()) == []
    assert [line.split()[0] for line in server.log.read_text().splitlines()] == ["vitdemo", "bundle0"]  # it opened, the model was ready


@contextlib.contextmanager
def limited(limit: str, bundle, tmp_path) -> Iterator[Visitor]:
    """A visitor of an app that is started under `ulimit LIMIT`."""
    script = tmp_path / "app.sh"
    script.write_text(f'ulimit {limit}; exec {sys.executable} app.py "$@"\n')
    log = tmp_path / "log.txt"
    (tmp_path / "home").mkdir()
    process = subprocess.Popen(
        ["bash", str(script), "--port", "0", "--monitor", "--model", f"local-dir:{bundle}", "--temp-dir", str(tmp_path / "home")],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "VITDEMO_CACHE_DIR": str(tmp_path / "cache")},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        until(lambda: "is ready on" in log.read_text(), 120)
        server = Server(re.search(r"open at (\S+?)/?\n", log.read_text())[1], process, log)
        server.home = tmp_path / "home"
        visitor = Visitor(server)
        visitor.server = server
        yield visitor
    finally:
        process.terminate()
        process.wait(30)


def test_a_full_disk_is_told(bundle, lesson, picture, tmp_path):
    """No file may grow over 400 KB: every larger write fails as on a full disk, with another number."""
    with limited("-f 400", bundle, tmp_path) as visitor:
        status, text = upload(visitor.server, ("large.png", bytes(600_000)))
        assert (status, text) == (507, "The upload can't be kept on the server's disk (File too large): try again in a few minutes.")
        assert lying_about(visitor.server) == []
        noise(100, 80).resize((1000, 800)).save(tmp_path / "photo.jpg", quality=50)
        photo = given(visitor, tmp_path / "photo.jpg")
        text = visitor.call("attention", [photo, "", "cls", 0, "mean", "", "", "mean", 0, 1, "png", "libra", False])
        assert error_of(text) == "This can't be kept on the server's disk (File too large): try again in a few minutes."
        text = visitor.call("finetune", [given(visitor, lesson), "", "quick", {}])
        assert "File too large" in error_of(text)
        assert still_right(visitor, picture)


def test_more_connections_than_files_leave_room_for_others(bundle, picture, tmp_path):
    """A process that may have 500 files open, and a thousand callers who never say what they want."""
    with limited("-n 500", bundle, tmp_path) as visitor:
        callers = []
        for _ in range(1000):
            callers.append(socket.create_connection((visitor.where.hostname, visitor.where.port), timeout=30))
            callers[-1].sendall(b"GET /hea")
        assert visitor.send("GET", "/health")[0] == 200
        assert still_right(visitor, picture)
        for each in callers:
            each.close()
        assert len(visitor.server.log.read_text()) < 1000


def test_an_app_out_of_memory_says_so_and_goes_on(visitor, picture, tmp_path):
    """It may take no more than it has, and 150 MB: a photo of 60 megapixels needs 180."""
    assert still_right(visitor, picture)  # the model is there
    large = tmp_path / "large.png"
    large.write_bytes(hostile.png(7_700, 7_700, zlib.compress(bytes(7_701 * 7_700), 9), mode=0))
    asked = [given(visitor, large), "", 3, None]
    process = visitor.server.process.pid
    taken = int(re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1])
    before = resource.prlimit(process, resource.RLIMIT_AS, ((taken << 10) + (150 << 20), resource.RLIM_INFINITY))
    try:
        said = error_of(visitor.call("classify", asked))
    finally:
        resource.prlimit(process, resource.RLIMIT_AS, before)
    assert said == "There isn't enough memory for “large.png”: save a smaller copy of it."
    assert "event: complete" in visitor.call("classify", asked)
    assert still_right(visitor, picture)


@pytest.mark.slow  # compiles three times
def test_damaged_caches_are_made_anew(start_app, bundle, lesson, picture, tmp_path):
    """Vectors and compiled code, every file of both overwritten between two starts."""
    flags = ("--model", f"local-dir:{bundle}", "--cache-dir", str(tmp_path / "cache"))
    asked = lambda visitor: [[given(visitor, lesson)], "", "final", "cls", 2, 5, 0.1, "cosine", 0, ""]  # noqa: E731
    answers = []
    for damage in (None, b"", b"\xff" * 5000):
        files = [each for each in (tmp_path / "cache").rglob("*") if each.is_file()]
        for each in files if damage is not None else ():
            each.write_bytes(damage)
        server = start_app(*flags)
        text = Visitor(server).call("embed", asked(Visitor(server)))
        assert "event: complete" in text, text[:500]
        answers.append(json.loads(re.search(r"event: complete\ndata: (.*)", text)[1])[0])
        assert still_right(Visitor(server), picture)
        server.stop()
    assert [row["prediction"] for row in answers[0]["rows"]] == [row["prediction"] for row in answers[2]["rows"]]


def test_a_network_that_goes_in_the_middle_of_a_download(start_app, tiny_checkpoint, picture, tmp_path):
    """The visitor is told; once it is back, the download goes on and the model answers."""
    hub = Hub({"timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/model.safetensors": tiny_checkpoint})
    hub.behave, hub.break_after = "break", 0
    server = start_app("--model", "demo", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hf"))
    try:
        visitor = Visitor(server)
        ask = [given(visitor, picture), "vit_tiny_patch16_224.augreg_in21k_ft_in1k", 3, None]
        assert "broke off" in error_of(visitor.call("classify", ask))
        assert still_right(visitor, picture)
        hub.behave = "well"
        until(lambda: "event: complete" in visitor.call("classify", ask))  # a failed load answers with its sentence for ten seconds
    finally:
        server.stop()
        hub.close()


def test_a_page_that_was_closed_leaves_no_files(visitor, picture):
    """Its photo's attention goes with it; a gallery of its map a minute later."""
    with urllib.request.urlopen(f"{visitor.server.url}/config", timeout=60) as answer:
        config = json.load(answer)
    parts = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
    look = next(
        each
        for each in config["dependencies"]
        if each["outputs"][1:] == [parts["attention"]] and [parts["photo"], "change"] in each["targets"]
    )
    values = {each["id"]: each["props"].get("value") for each in config["components"]}
    visitor.session = "closing"
    heart = http.client.HTTPConnection(visitor.where.hostname, visitor.where.port, timeout=60)
    heart.request("GET", "/gradio_api/heartbeat/closing")
    heart.getresponse().read(8)
    said = visitor.join(look["id"], [given(visitor, picture), "", "attention", *(values[each] for each in look["inputs"][3:])], None)
    session = re.search(r'"session":"([^"]+)"', said)[1]
    (folder,) = visitor.server.home.iterdir()
    assert (folder / f"attention-{session}").is_dir()
    heart.sock.shutdown(2)
    heart.close()
    until(lambda: not (folder / f"attention-{session}").exists(), 60)
    visitor.session = "fuzz"


def test_what_a_killed_app_left_goes_when_it_starts_again(start_app, bundle, picture, tmp_path):
    server = start_app("--model", f"local-dir:{bundle}", "--temp-dir", str(tmp_path))
    given(Visitor(server), picture)
    server.process.kill()
    server.process.wait()
    (left,) = tmp_path.iterdir()
    assert list(left.rglob("*.png"))
    again = start_app("--model", f"local-dir:{bundle}", "--temp-dir", str(tmp_path))
    assert not left.exists()
    assert still_right(Visitor(again), picture)
    again.stop()
