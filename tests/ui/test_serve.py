"""The addresses that the terminal names."""

import socket

import pytest

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
