"""A Ray cluster for one command: this machine's own cores, or one that runs already. Ray is imported when it is asked for."""

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

from vitdemo.core.errors import UserError

NEEDED = "needs Ray, which is not installed: pip install -r requirements-scale.txt"
OBJECTS = 512 << 20  # bytes of shared memory for what travels between processes: the model, and crops on their way
REACHED_WITHIN = 5  # seconds in which a cluster must answer
PACKAGE = Path(__file__).parents[2]


@contextmanager
def ray_session(command: str, address: str | None = None, *, cpus: int | None = None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine and end it at last; a session that runs already is used and left.

    Args:
        command: what needs Ray, for the sentence that says so.
        cpus: of a cluster on this machine; all there are by default.

    Raises: UserError where Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no call to other hosts
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it talks into the progress; errors that matter are raised
    try:
        import ray
    except ImportError:
        raise UserError(f"{command} {NEEDED}") from None
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        try:
            _check_reachable(address)
            with _silence():
                ray.init(address, runtime_env={"py_modules": [str(PACKAGE)]}, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"There is no Ray cluster at {address} ({_first_line(error)}): check --address, or leave it out.") from None
        folder = None
    else:
        folder = tempfile.mkdtemp(prefix="vd-", dir=_short_place())
        with _silence():  # it says that it has been told to say nothing
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
    """Ray itself would try for minutes. Raises: OSError where nobody listens at HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN).close()


def said_last(error: Exception) -> str:
    """What a process of the cluster said before it failed: our own sentence if there is one, as Ray hands errors on as text."""
    said = re.findall(r"UserError: (.+)", str(error)) or str(error).strip().splitlines() or [type(error).__name__]
    return said[-1][:400]


def _short_place() -> str | None:
    """A folder whose path is short enough for the sockets that Ray makes in it; None for the system's usual one."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on the standard error, from libraries that don't ask Python either."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
