"""Ray's sessions, with a stand-in for Ray: what it is asked for, and what is left behind."""

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vitdemo.core.bulk import ray_session
from vitdemo.core.bulk.ray_session import last_message
from vitdemo.core.bulk.ray_session import ray_session as session
from vitdemo.core.errors import UserError


@pytest.fixture
def ray(monkeypatch):
    """A stand-in that notes what it is asked; `fault` is raised by its init, `running` is what it says of itself."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    stand_in = SimpleNamespace(log=[], fault=None, running=False)

    def init(address: str, **options) -> None:
        os.write(2, b"Ray says something\n")
        stand_in.log.append((address, options))
        if stand_in.fault:
            raise stand_in.fault

    stand_in.init, stand_in.shutdown = init, lambda: stand_in.log.append("shutdown")
    stand_in.is_initialized = lambda: stand_in.running
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    return stand_in


def test_a_cluster_of_this_machine_leaves_nothing(ray, capfd):
    with session("embed", cpus=3):
        ((address, options),) = ray.log
        folder = Path(options["_temp_dir"])
        assert (address, options["num_cpus"], options["include_dashboard"]) == ("local", 3, False)
        assert (options["object_store_memory"], options["_node_ip_address"], options["log_to_driver"]) == (512 << 20, "127.0.0.1", False)
        assert folder.is_dir()
        assert folder.name.startswith("vd-")
        assert len(str(folder)) < 40
        (folder / "log").touch()
        os.write(2, b"we say something\n")
    assert ray.log[1:] == ["shutdown"]
    assert not folder.exists()
    assert capfd.readouterr().err == "we say something\n"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"  # as the operator has set it


def test_it_ends_with_an_error_too(ray):
    with pytest.raises(KeyError), session("embed"):
        raise KeyError
    assert ray.log[-1] == "shutdown"


def test_a_running_session_is_used_and_kept(ray):
    ray.running = True
    with session("embed"):
        pass
    assert ray.log == []


def test_a_cluster_at_an_address_gets_this_package(ray):
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        with session("embed", address):
            ((found, options),) = ray.log
    assert found == address
    (package,) = options["runtime_env"]["py_modules"]
    assert (Path(package) / "core" / "bulk" / "ray_session.py").is_file()
    assert ray.log[-1] == "shutdown"


def test_an_address_where_nobody_is(ray):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    with (
        pytest.raises(UserError, match=f"There is no Ray cluster at {address} .*: check --address, or leave it out"),
        session("embed", address),
    ):
        pass
    assert ray.log == []  # it would try for minutes
    ray.fault = ConnectionError("no cluster\nmore")
    with pytest.raises(UserError, match=r"at auto \(no cluster\): check"), session("embed", "auto"):
        pass


def test_what_is_no_host_and_port_is_left_to_ray(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(socket, "create_connection", refuse)
    for address in ("auto", "ray://host:10001", "host:port"):
        ray_session._check_reachable(address)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^embed needs Ray, which is not installed: pip install"), session("embed"):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Traceback\nvitdemo.core.errors.UserError: There is no room.\n  more", "There is no room."),
        ("Traceback\nvitdemo.core.errors.UsageError: There is no such device.\n\nmore", "There is no such device."),
        ("UserError: one\nUserError: two", "two"),
        ("first\nlast  ", "last"),
        ("", "ValueError"),
        ("x" * 500, "x" * 400),
    ],
)
def test_the_last_message_of_a_process_that_failed(text, message):
    assert last_message(ValueError(text)) == message
