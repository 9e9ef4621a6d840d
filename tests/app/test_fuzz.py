"""Hostile input at every door, the same for the same seed. VITDEMO_FUZZ=20000 asks for more of it than the short form's two hundred:

VITDEMO_FUZZ=20000 python -m pytest tests/test_fuzz.py -s
"""

import contextlib
import os
import random
import re
import resource
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter

import pytest

from tests.support import hostile
from tests.support.apps import TINY
from tests.support.heic import TURNED
from tests.support.http import EDGE, SECRET, Visitor, check, form, half_sent, routes_of_the_page, still_right, things_of
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError

pytestmark = pytest.mark.app

ROUNDS = int(os.environ.get("VITDEMO_FUZZ", 200))
SEED = int(os.environ.get("VITDEMO_FUZZ_SEED", 1))
SHORT = (  # of hostile.files()
    *("bomb.png", "frame-outside.gif", "loop.tiff", "slip.zip", "lying.zip", "overlapping.zip", "names.zip", "page.jpg", "both.png"),
    "weights.pt",
)
ROUTES = ("run/predict", "api/predict", "call/classify", "call/v2/classify", "queue/join", "cancel", "reset")
PLACES = ("file=", "file/", "call/classify/", "stream/", "proxy=", "custom_component/")
BROKEN = (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"data": NaN}', b'{"data": 1e999}', b'{"data": ' + b"[" * 9_000 + b"]" * 9_000 + b"}")
KINDS = (f"multipart/form-data; boundary={EDGE}", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain", "x")
ORIGINS = ("null", "https://evil.example", "http://127.0.0.1.evil.example", "http://[", "file://", "127.0.0.1")


class Listener:
    """A server that nobody may visit."""

    def __init__(self):
        self.visits = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            self.socket.accept()[0].close()
            self.visits += 1


@pytest.fixture(scope="module")
def listener():
    return Listener()


@pytest.fixture(scope="module")
def visitor(start_app, bundle):
    server = start_app("--model", f"local-dir:{bundle}", "--monitor")
    visitor = Visitor(server)
    visitor.server = server
    yield visitor
    server.stop()


@pytest.fixture(scope="module")
def own(visitor, picture) -> dict[str, str]:
    return things_of(visitor, picture)


@pytest.fixture(scope="module")
def strange(listener, tmp_path_factory) -> list[str]:
    """Texts that must lead nowhere."""
    canary = tmp_path_factory.mktemp("elsewhere") / "canary.png"
    canary.write_text(SECRET)
    addresses = [f"{scheme}127.0.0.1:{listener.port}/x.png" for scheme in ("http://", "https://", "//", "HTTP:\\\\", "ftp://")]
    addresses += [f"http://[::1]:{listener.port}/", f"http://0x7f000001:{listener.port}/"]
    paths = [str(canary), f"file://{canary}", "/etc/passwd", "../../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc/passwd", "app.py"]
    return [*addresses, *paths, "/proc/self/environ", "/dev/zero", "C:\\boot.ini", "local-dir:/etc"]


def test_decoders_give_a_photo_or_a_sentence(tmp_path):
    """In this process: every format's bytes changed at random, and everything in hostile.py."""
    from vitdemo.core.photos.photo import decode
    from vitdemo.core.photos.search import uploaded_items

    rng, settings, found = random.Random(SEED), Settings(), Counter()
    seeds = [hostile.photo(kind=kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")]
    seeds += [hostile.tiff(3), hostile.gif(3, (9, 9)), TURNED.read_bytes()]
    for data in [*(data for _, data in hostile.files()), *(hostile.mutated(rng.choice(seeds), rng) for _ in range(4 * ROUNDS))]:
        try:
            decode(data, "a.png", settings)
            found["photo"] += 1
        except UserError as error:
            check(str(error))
            found["sentence"] += 1
    archive = hostile.zipped([(f"folder/{number}.png", hostile.photo()) for number in range(3)])
    zips = [data for name, data in hostile.files() if name.endswith(".zip")]
    for data in [*zips, *(hostile.mutated(archive, rng) for _ in range(ROUNDS))]:
        (tmp_path / "a.zip").write_bytes(data)
        try:
            for item in uploaded_items([("a.zip", tmp_path / "a.zip")], settings)[:50]:
                assert ".." not in item.name.split("/")
                assert not item.name.startswith("/")
                try:
                    item.read(settings)
                    found["entry"] += 1
                except UserError as error:
                    check(str(error))
                    found["entry's sentence"] += 1
        except UserError as error:
            check(str(error))
            found["zip's sentence"] += 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]
    assert min(found.values()) > 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 << 20  # KB
    print(dict(found))


def test_checkpoints_that_lie_get_a_sentence(bundle, tmp_path):
    """In this process: a bundle's weights and config, which only the operator can name."""
    from vitdemo.core.models import loader
    from vitdemo.core.models.checkpoint.read import read

    rng = random.Random(SEED)
    weights = (bundle / "model.safetensors").read_bytes()
    for number, data in enumerate(hostile.checkpoints(weights, rng)):
        (path := tmp_path / f"{number}.safetensors").write_bytes(data)
        with contextlib.suppress(UserError):
            loader.fit(read(path).state, loader.skeleton(f"local-dir:{bundle}"), path.name)
        path.unlink()
    config = (bundle / "config.json").read_bytes()
    texts = [b"", b"null", b"[" * 50_000, b'{"architecture": 3}', b'{"architecture": "../../x"}', b"\xff", config.replace(b"224", b"1e99")]
    for data in [*texts, *(hostile.mutated(config, rng) for _ in range(40))]:
        (tmp_path / "config.json").write_bytes(data)
        (tmp_path / "model.safetensors").write_bytes(weights)
        try:
            import torch

            loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
        except UserError:
            pass
    assert TINY  # the operator's catalogue is not read from files


def test_hostile_files_at_every_named_endpoint(visitor, picture, listener):
    names = ["classify", "attention", "embed", "finetune"]
    assert set(visitor.names) >= set(names)
    chosen = list(hostile.files()) if ROUNDS > 200 else [each for each in hostile.files() if each[0] in SHORT]
    said = Counter()
    for name, data in chosen:
        file = {"path": visitor.upload(name, data), "meta": {"_type": "gradio.FileData"}, "orig_name": name}
        asked = {
            "classify": [[file, "", 3, None], [None, "", 3, [file]]],
            "attention": [[file, "", "cls", 0, "mean", "", "", "mean", 0, 1, "png", "libra", False]],
            "embed": [[[file], "", "final", "cls", 2, 15, 0.1, "cosine", 0, ""]] if name.endswith(".zip") else [],
            "finetune": [[file, "", "quick", {}]] if name.endswith(".zip") else [],
        }
        for endpoint, data_of in asked.items():
            for data in data_of:
                text = visitor.call(endpoint, data)
                check(text)
                assert "Something went wrong" not in text, (endpoint, name, text)
                assert "event: error" in text or "event: complete" in text
                said[endpoint, "event: complete" in text] += 1
    assert still_right(visitor, picture)
    assert listener.visits == 0
    print(said)


def test_odd_values_at_every_endpoint_and_event(visitor, picture, strange, listener, own):
    """Every event of the page, every function of its components, every named endpoint, and every route of Gradio's that is open."""
    rng = random.Random(SEED)
    inputs = {each["id"]: len(each["inputs"]) for each in visitor.config["dependencies"]}
    own_routes = routes_of_the_page()
    assert len(inputs) > 15
    assert len(own_routes) > 25
    statuses, begin = Counter(), time.monotonic()
    for _ in range(ROUNDS):
        visitor.session = rng.choice(("fuzz", "fuzz", hostile.MARKUP.replace(" ", ""), "x" * 2000))
        match rng.randrange(6):
            case 0:
                number = rng.choice(list(inputs))
                given = inputs[number] if rng.random() < 0.8 else rng.randrange(9)
                text = visitor.join(number, [hostile.value(rng, strange) for _ in range(given)], hostile.value(rng, strange))
                statuses["event"] += 1
            case 1:
                route, body = rng.choice(own_routes), hostile.value(rng, strange)
                if rng.random() < 0.7:  # what belongs to this page, with odd wishes
                    wishes = {rng.choice(hostile.NAMES): hostile.value(rng, strange, 2) for _ in range(6)}
                    thing = own.get(route.split("/")[2], "")
                    body = wishes | {"gallery": thing, "session": thing}
                status, text = visitor.send("POST", route, rng.choice((body, body, body, rng.choice(BROKEN))))
                statuses["page", status] += 1
            case 2:
                name = rng.choice(visitor.names)
                endpoint = next(each for each in visitor.config["dependencies"] if each["api_name"] == name)
                text = visitor.call(name, [hostile.value(rng, strange) for _ in range(len(endpoint["inputs"]))])
                statuses["endpoint"] += 1
            case 3:
                route, body = rng.choice(ROUTES), hostile.value(rng, strange)
                status, text = visitor.send("POST", f"/gradio_api/{route}", rng.choice((body, {"data": body}, rng.choice(BROKEN))))
                statuses[route, status] += 1
            case 4:
                text = urllib.parse.quote(rng.choice(strange), safe=rng.choice(("", "/:")))
                route = rng.choice(PLACES)
                status, text = visitor.send("GET", f"/gradio_api/{route}{text}")
                statuses[route, status] += 1
                assert status in (400, 401, 403, 404, 405, 422) or route == "call/classify/", (status, text)
            case 5:
                route, kind, data = rng.choice(ROUTES), rng.choice(KINDS), form((rng.choice(hostile.NAMES), b"x" * rng.randrange(200_000)))
                status, text = visitor.send("POST", f"/gradio_api/{route}", data, kind)
                assert status == 415, (status, text)
                assert visitor.send("POST", rng.choice(own_routes), data, kind)[0] == 415
                assert visitor.send("POST", rng.choice(own_routes), {}, Origin=rng.choice(ORIGINS))[0] == 403
                half_sent(visitor.server, f"/gradio_api/{route}", data[: len(data) // 2], rng.choice((len(data), 1 << 60))).close()
                status, text = visitor.send("POST", f"/gradio_api/{route}", {}, Origin=rng.choice(ORIGINS))
                assert status == 403, (status, text)
                name = urllib.parse.quote(rng.choice((*strange, "x" * 60_000)))
                assert visitor.send("GET", f"/gradio_api/upload_progress?upload_id={name}") == (200, "")  # nothing, whatever is asked
                statuses["closed door"] += 1
        check(text, strange)
        assert visitor.server.process.poll() is None
    seconds = time.monotonic() - begin
    assert still_right(visitor, picture)
    assert listener.visits == 0
    faults = visitor.server.log.read_text().count("fault ")
    with urllib.request.urlopen(f"{visitor.server.url}/metrics", timeout=60) as answer:
        memory = float(re.search(r"^process_resident_memory_bytes (\S+)", answer.read().decode(), re.MULTILINE)[1])
    print(f"{ROUNDS} requests, seed {SEED}, {seconds:.0f} s, {faults} faults, {memory / 1e6:.0f} MB, {dict(statuses)}")
    assert "Traceback" not in visitor.server.log.read_text()
    assert faults == 0
    assert memory < 2e9
