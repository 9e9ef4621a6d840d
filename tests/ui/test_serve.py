"""What the terminal is told of an app, and how an app ends."""

import socket
import threading
from types import SimpleNamespace

import pytest

from tests.support.apps import free_port
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui import serve


@pytest.fixture
def machine(monkeypatch):
    """A machine of known addresses."""

    class Probe(socket.socket):
        def connect(self, where) -> None:
            pass

        def getsockname(self) -> tuple:
            return ("192.168.1.5" if self.family == socket.AF_INET else "fd00::5", 0)

    known = {socket.AF_INET: ["127.0.1.1", "192.168.1.5", "10.0.0.7"], socket.AF_INET6: ["::1", "fe80::1"]}
    monkeypatch.setattr(serve.socket, "socket", Probe)
    monkeypatch.setattr(serve.socket, "getaddrinfo", lambda name, port, family: [(family, 0, 0, "", (each, 0)) for each in known[family]])


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("0.0.0.0", ["192.168.1.5", "10.0.0.7"]),
        ("::", ["[fd00::5]"]),
        ("127.0.0.1", []),
        ("192.168.1.5", []),
        ("localhost", []),
    ],
)
def test_where_others_find_an_app_that_listens_everywhere(machine, host, addresses):
    assert serve.own_addresses(host) == addresses


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.1", False), ("", False)],
)
def test_an_address_of_this_machine_alone(host, local):
    assert serve._is_local(host) == local


def test_a_name_that_nobody_knows_is_not_local(monkeypatch):
    def unknown(*_):
        raise socket.gaierror

    monkeypatch.setattr(serve.socket, "getaddrinfo", unknown)
    assert not serve._is_local("nowhere.invalid")


WARNING = "vitdemo: everyone who reaches 0.0.0.0 can use it: --auth USER:PASSWORD asks for a login\n"


@pytest.mark.parametrize(
    ("settings", "others", "warning"),
    [
        (Settings(), "", ""),
        (Settings(host="0.0.0.0"), "Other machines reach it at http://192.168.1.5:7861/ http://10.0.0.7:7861/\n", WARNING),
        (Settings(host="0.0.0.0", auth="ann:secret"), "Other machines reach it at http://192.168.1.5:7861/ http://10.0.0.7:7861/\n", ""),
    ],
)
def test_what_the_terminal_is_told(settings, others, warning, machine, monkeypatch, capsys):
    monkeypatch.setattr(serve, "_is_local", lambda host: host == "127.0.0.1")
    serve._announce("http://127.0.0.1:7861/", settings)
    said = capsys.readouterr()
    assert said.out == f"vitdemo is open at http://127.0.0.1:7861/\n{others}"
    assert said.err == warning


def test_a_log_as_json_takes_over_the_servers(monkeypatch, capsys):
    taken = []
    monkeypatch.setattr(serve, "take_over", lambda *names: taken.extend(names))
    serve._announce("http://127.0.0.1:7861/", Settings())
    assert taken == []
    serve._announce("http://127.0.0.1:7861/", Settings(log_json=True))
    assert taken == ["uvicorn", "uvicorn.error", "uvicorn.access"]


def test_the_model_is_told_once_it_is_there(capsys):
    vit, answered = (
        SimpleNamespace(id="vit", name="vit", device="cpu", reduced="", source="a file", notes=("Took “module.” off the tensors' names.",)),
        [],
    )
    loading = SimpleNamespace(result=lambda: vit, instead="")
    visitors = SimpleNamespace(photo_answers=SimpleNamespace(first=answered.append))
    app = SimpleNamespace(store=SimpleNamespace(get=lambda: loading), visitors=visitors)
    serve._report_model(app)
    assert capsys.readouterr() == ("vit is ready on cpu, weights from a file\nTook “module.” off the tensors' names.\n", "")
    assert answered == [vit]  # the page opens on this answer
    loading.instead = "ViT-B/16 is not on this machine. The model hub can't be reached."
    serve._report_model(app)
    assert capsys.readouterr().err.startswith(f"vitdemo: {loading.instead} The demo model answers until it is")

    def fail():
        raise UserError("There is no such model.")

    loading.result = fail
    serve._report_model(app)
    assert capsys.readouterr() == ("", "vitdemo: There is no such model.\n")


def test_a_port_that_is_taken_is_said(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # the app sets it, and here it is put back
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        app = serve.running(Settings(port=port, model="demo"), threading.Event())
        with pytest.raises(UserError, match=f"^The app can't listen on 127.0.0.1:{port}: choose another --port, or check --host"), app:
            pass


@pytest.fixture
def ending(monkeypatch):
    """ending(works, answers, seconds): the app is told to end, with work for so long and answers that are fetched so late → what it did."""

    def drain(works: float, answers: float, seconds: float, busy: float = 0.0) -> list:
        clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
        clock.sleep = lambda step: setattr(clock, "now", clock.now + step)
        log = []

        class Visitors:
            @property
            def busy(self) -> bool:
                return clock.now < busy

            def stop(self) -> None:
                log.append(("stop", round(clock.now, 2)))

        monkeypatch.setattr(serve, "time", clock)
        monkeypatch.setattr(serve, "is_at_work", lambda page: clock.now < works)
        monkeypatch.setattr(serve, "has_unfetched_answers", lambda page: clock.now < answers)
        serve._drain(None, Visitors(), seconds)
        log.append(("end", round(clock.now, 2)))
        return log

    return drain


@pytest.mark.parametrize(
    ("works", "answers", "busy", "log"),
    [
        (0, 0, 0, [("stop", 0), ("end", 0)]),
        (1, 0, 0, [("stop", 1), ("end", 1)]),
        (0, 0, 2, [("stop", 2), ("end", 2)]),  # visitors' long work
        (1, 2, 0, [("stop", 1), ("end", 2)]),
        (99, 0, 0, [("stop", 5), ("end", 8)]),  # what does not end is stopped, and has three seconds to say so
        (0, 99, 0, [("stop", 0), ("end", 3)]),  # answers that nobody fetches
    ],
)
def test_how_long_an_end_takes(works, answers, busy, log, ending):
    assert ending(works, answers, 5, busy) == [(name, pytest.approx(seconds, abs=0.11)) for name, seconds in log]
