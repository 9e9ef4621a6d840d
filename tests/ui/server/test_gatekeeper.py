"""What the server answers at all, before and after login; what it takes in; and what one visitor gets of another's."""

import json
import re
import socket
import threading
import urllib.parse
import urllib.request
from types import SimpleNamespace

import pytest
from starlette.requests import HTTPConnection, Request

from tests.support.apps import app_in_process
from tests.support.http import EDGE, UPLOAD, ask, form, half_sent, lying_about, post, routes_of_gradio, routes_of_the_page, upload
from tests.support.waiting import until
from vitdemo.core.config import OWN_PATHS, Settings
from vitdemo.ui.server import gatekeeper
from vitdemo.ui.server.gatekeeper import SENTENCES
from vitdemo.ui.server.page_routes import SCRIPTS


@pytest.fixture(scope="module")
def small(bundle, tmp_path_factory):
    """An app in this process with little room, whose folder we can look into."""
    home = tmp_path_factory.mktemp("small")
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0, max_upload_mb=1, max_zip_mb=2, temp_mb=64, temp_dir=home)) as client:
        client.home = home
        yield client


def address(path: str) -> str:
    return f"/{path}" if path.startswith("page/") else f"/gradio_api/{path}"


def test_only_what_the_page_uses_is_answered(app):
    routes = routes_of_gradio()
    assert len(routes) > 50
    answered = {path.rstrip("/") for method, path in routes if ask(app, method, path)[0] not in (404, 405)}
    api = (
        *("info", "user", "login_check", "app_id", "startup-events", "theme.css", "upload", "file=x", "file/x"),
        *("queue/join", "queue/data", "queue/status", "heartbeat/x", "cancel", "reset", "run/x", "api/x", "call/x", "call/v2/x"),
        *("call/x/x", "call/v2/x/x", "upload_progress"),
    )
    pages = {"", "/config", "/login", "/logout", "/favicon.ico", "/theme.css", "/manifest.json", "/robots.txt"}
    assert answered <= pages | {f"/gradio_api/{each}" for each in api}


def test_the_same_file_twice_lies_in_two_places_that_can_not_be_guessed(small):
    first, second = (json.loads(upload(small, ("cat.png", b"x"))[1])[0] for _ in range(2))
    assert first != second
    for path in (first, second):
        folder = path.split("/")[-2]
        assert re.fullmatch(r"[0-9a-f]{64}", folder)
        assert ask(small, "GET", f"/gradio_api/file={path}")[:2] == (200, b"x")
        assert ask(small, "GET", f"/gradio_api/file={path.rsplit('/', 1)[0]}")[0] == 403
    assert ask(small, "GET", f"/gradio_api/file={path.rsplit('/', 2)[0]}")[0] == 403


@pytest.mark.parametrize("name", ["../../evil.png", "..", "/etc/cron.d/x", "a\\..\\b.png", "", "%2e%2e%2fx", "C:\\x.png", "\U0001f408.png"])
def test_odd_names_stay_in_their_folder(small, name):
    status, text = upload(small, (name, b"x"))
    assert status == 200
    (path,) = json.loads(text)
    (folder,) = small.home.iterdir()
    assert path.startswith(f"{folder}/")
    assert len(path.removeprefix(f"{folder}/").split("/")) == 2
    assert ".." not in path.split("/")


def test_what_is_too_large_leaves_nothing(small):
    status, text = upload(small, ("fine.png", b"x"), ("big.png", bytes(1_100_000)))
    assert (status, text) == (413, "“big.png” is larger than 1 MB: leave it out, or save a smaller copy of it.")
    assert upload(small, ("fine.zip", bytes(1_100_000)))[0] == 200
    assert upload(small, ("big.zip", bytes(2_200_000)))[0] == 413
    assert upload(small, ("fine.png", b"x"), field=bytes(100_000))[0] == 413
    assert upload(small, *((f"{number}.png", b"x") for number in range(61))) == (
        413,
        "These are more than the 60 files that may be sent at once: send a zip of them, or a part at a time.",
    )
    assert upload(small, *((f"{number}.png", b"x") for number in range(60)))[0] == 200
    assert lying_about(small) == []


@pytest.mark.parametrize("body", [b"", b"nonsense", b"--vitdemo\r\n\r\n\r\nx\r\n--vitdemo--", b"--vitdemo--", b"\xff" * 100])
def test_a_form_that_can_not_be_read(small, body):
    status, text, _ = ask(small, "POST", UPLOAD, body, Content_Type=f"multipart/form-data; boundary={EDGE}")
    assert (status, text) in ((400, b"The upload can't be read: reload the page and give the files again."), (200, b"[]"))
    for kind in ("multipart/form-data", "application/json", ""):
        assert ask(small, "POST", UPLOAD, form(("a.png", b"x")), Content_Type=kind)[0] == 400
    assert lying_about(small) == []


def test_a_browser_that_disappears_in_the_middle_of_an_upload_leaves_nothing(small):
    where = urllib.parse.urlsplit(small.url)
    with socket.create_connection((where.hostname, where.port)) as connection:
        head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={EDGE}\r\nContent-Length: 900000\r\n\r\n"
        connection.sendall(head.encode() + form(("half.png", bytes(300_000)))[:200_000])
        until(lambda: lying_about(small) != [])
    until(lambda: lying_about(small) == [])
    assert upload(small, ("a.png", b"x"))[0] == 200


@pytest.mark.parametrize(
    ("mine", "others", "joining", "crowds"),
    [
        (0, 8, 0, False),
        (5, 0, 0, False),
        (6, 0, 0, True),
        (6, 9, 0, True),
        (5, 9, 0, False),
        (0, 0, 6, True),
        (2, 9, 3, False),
        (2, 9, 4, True),
    ],
)
def test_nobody_has_more_than_three_quarters_of_the_places(mine, others, joining, crowds):
    """Of 8 places and a line before them, which `joining` have not reached yet."""

    def by(host: str) -> SimpleNamespace:
        return SimpleNamespace(request=Request({"type": "http", "client": (host, 1)}))

    events = [by("10.0.0.9")] * mine + [by("10.0.0.7")] * others
    places = [[each] for each in events[:8]] + [None] * (8 - len(events[:8]))
    queue = SimpleNamespace(active_jobs=places, event_queue_per_concurrency_id={"x": SimpleNamespace(queue=events[8:])})
    app = SimpleNamespace(get_blocks=lambda: SimpleNamespace(_queue=queue))
    guarded = gatekeeper.Gatekeeper(app, Settings(), threading.Event())
    guarded._joining.update({"10.0.0.9": joining, "10.0.0.7": 9})
    assert guarded._crowds(HTTPConnection({"type": "http", "client": ("10.0.0.9", 2), "app": app})) == crowds


def test_a_folder_that_is_full_takes_no_more_and_says_so(small):
    answers = [upload(small, ("a.zip", bytes(2_000_000)), host=f"10.0.0.{number % 3}") for number in range(60)]
    assert answers[0][0] == 200
    assert answers[-1] == (507, "The server has no room for more files just now: try again in a few minutes.")
    (folder,) = small.home.iterdir()
    assert sum(each.stat().st_size for each in folder.rglob("*")) < 64 << 20
    assert ask(small, "GET", "/config")[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("call/classify", b'{"data": ["' + b"x" * 5_000_000 + b'"]}'),
        ("call/classify", b'{"data": [' + b"[0]," * 200_000 + b"0]}"),
        ("queue/join", b'{"data": [' + b"[0]," * 200_000 + b"0]}"),
        ("page/classify/start", b"[" * 800_000),
        ("cancel", b'{"session_hash": "' + b"x" * 70_000 + b'"}'),
        ("reset", b'{"event_id": "' + b"x" * 70_000 + b'"}'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_is_far_too_large_is_refused(app, path, body):
    status, text, _ = ask(app, "POST", address(path), body, Content_Type="application/json")
    assert (status, json.loads(text)["detail"]) == (413, SENTENCES[413])


JSON = (*("run/x", "api/x", "call/classify", "call/v2/classify", "queue/join", "cancel", "reset"), "page/classify/start")


def test_what_is_asked_in_json_takes_nothing_else(app, subtests):
    for path in JSON:
        for kind in [f"multipart/form-data; boundary={EDGE}", "MULTIPART/form-data", "text/plain", "application/json-not"]:
            with subtests.test(path=path, kind=kind):
                status, text, _ = ask(app, "POST", address(path), form(("a.png", b"x")), Content_Type=kind)
                assert (status, json.loads(text)["detail"]) == (415, SENTENCES[415])


@pytest.mark.app
def test_nothing_is_written_outside_the_private_folder(start_app, bundle, tmp_path):
    """The system's own temporary folder stays as it was, also where a request breaks off."""
    system, private = tmp_path / "system", tmp_path / "private"
    system.mkdir()
    private.mkdir()
    server = start_app("--model", f"local-dir:{bundle}", "--temp-dir", str(private), TMPDIR=str(system))
    before = sorted(each.name for each in system.iterdir())
    body, kind = form(("a.png", bytes(1_000_000))), f"multipart/form-data; boundary={EDGE}"
    for path in ("page/classify/start", "queue/join", "upload", "call/classify"):
        broken = half_sent(server, address(path), body[:500_000], len(body), kind)
        assert ask(server, "GET", "/config")[0] == 200  # by now the server has read what came before
        assert sorted(each.name for each in system.iterdir()) == before
        broken.close()
    server.stop()


def test_bodies_that_never_end_keep_nobody_from_being_answered(app):
    held = [half_sent(app, "/gradio_api/queue/join", b'{"data": ["' + b"x" * 200_000, 3_900_000) for _ in range(40)]
    for _ in range(3):
        assert post(app) == 200
    for each in held:
        each.close()
    body = b'{"data": ["' + b"x" * 100_000 + b'"]}'
    assert ask(app, "POST", "/gradio_api/call/classify", body, Content_Type="application/json")[0] == 200


def test_the_apps_own_page_and_programs_are_not(app):
    assert post(app) == 200
    assert post(app, Origin=app.url) == 200
    assert post(app, Host="demo.example", Origin="https://demo.example") == 200  # a proxy with TLS before it
    assert post(app, Host="demo.example", Origin="https://DEMO.example:8443") == 200
    assert post(app, Host="127.0.0.1:7860", Origin="https://demo.example", X_Forwarded_Host="demo.example") == 200
    assert post(app, Host="127.0.0.1:7860", Origin="https://demo.example", X_Forwarded_Host="demo.example, inner.example") == 200


def test_no_path_of_the_apps_own_can_be_the_one_of_a_proxy():
    gate = gatekeeper.Gatekeeper(None, Settings(), None, open_to_all=["/health", "/metrics"])
    pages = [*routes_of_the_page(), SCRIPTS.path.replace("{version}", "x"), "/health", "/metrics"]
    paths = [*pages, *(path for _, path in routes_of_gradio())]
    answered = {path.split("/")[1] for path in paths if gate._public.fullmatch(path) or gate._private.fullmatch(path)}
    assert answered - {""} == set(OWN_PATHS)


@pytest.mark.parametrize(
    "path", ["https://example.org/x.png", "http://127.0.0.1/x", "HTTP://localhost", "ftp://x/y", "file:///etc/passwd", "data:,x"]
)
def test_no_address_is_fetched(app, path):
    assert ask(app, "GET", f"/gradio_api/file={path}")[0] == 404
    assert ask(app, "GET", f"/gradio_api/file/{path}")[0] == 404
