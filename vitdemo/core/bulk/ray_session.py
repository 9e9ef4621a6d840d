"""A Ray cluster for one command: a new one on this machine, or one that is running already. Ray is imported only when it is needed."""

import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitdemo.core.errors import UserError

NEEDED = "needs Ray, which is not installed: pip install -r requirements-scale.txt"
OBJECTS = 512 << 20  # bytes of shared memory for objects sent between processes: the model and the crops
REACHED_WITHIN = 5  # seconds within which a cluster must answer
PACKAGE = Path(__file__).parents[2]


@contextmanager
def ray_session(command: str, address: str | None = None, *, cpus: int | None = None) -> Iterator[None]:
    """Connect to the cluster at an address, or start one on this machine, and leave it at the end. An existing session is used and kept.

    Args:
        command: what needs Ray, for the error message.
        address: a running cluster's; without it, a cluster is started and shut down at the end.
        cpus: CPUs of a cluster on this machine; all by default.

    Raises: UserError where Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray must not send statistics to other hosts
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # keeps Ray's log out of the progress lines; errors that matter are raised
    try:
        import ray
    except ImportError:
        raise UserError(f"{command} {NEEDED}") from None
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        try:
            _check_reachable(address)
            with _silence():
                ray.init(address, runtime_env={"py_modules": [str(PACKAGE)]}, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"There is no Ray cluster at {address} ({_first_line(error)}): check --address, or leave it out.") from None
        folder = None
    else:
        folder = tempfile.mkdtemp(prefix="vd-", dir=_short_folder())
        with _silence():  # Ray would print that its reporting is off
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECTS,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                **quiet,
            )
    try:
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Check that something listens at HOST:PORT: Ray itself would try for minutes. Raises: OSError where nothing does."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN).close()


def last_message(error: Exception) -> str:
    """Return the last message of a failed cluster process: that of an error of ours if there is one: Ray passes errors on as text."""
    messages = re.findall(r"\b(?:vitdemo\.[\w.]+|UserError): (.+)", str(error)) or str(error).strip().splitlines() or [type(error).__name__]
    return messages[-1][:400]


def _short_folder() -> str | None:
    """Return a folder whose path is short enough for the sockets that Ray makes in it; None for the system's temporary folder."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None


@contextmanager
def _silence() -> Iterator[None]:
    """Discard standard error, including what libraries write to it without Python."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
