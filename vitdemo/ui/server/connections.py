"""Limit connections: how many may be open, and how long each may take to send a request. uvicorn limits none of these."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from typing import cast

from uvicorn import Server

from vitdemo.ui.server.client import client_of_host
from vitdemo.ui.server.gradio_internals import Connection, use_connections

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module's name can't be declared as optional

MAX_CONNECTIONS = 1000  # and at most half as many as the files that the process may open
MAX_OPEN_FILES = 1 << 16  # that the process may open, if the system allows as many
HEAD_SECONDS = 20.0  # for the arrival of a request's first lines
KEEP_ALIVE_SECONDS = 75  # for which an idle connection stays open: longer than clients and proxies rely on
REPEAT_SECONDS = 60.0  # between two log entries that sockets have run out


class TimedProtocol(Connection):
    """A connection that is closed where a request's head does not arrive in time, or where other connections need its slot.

    Attributes:
        most: connections that may be open at the same time.
    """

    most = MAX_CONNECTIONS

    def connection_made(self, transport) -> None:
        """Start the timeout for the first request's head. Above the limit, abort a connection."""
        super().connection_made(transport)
        self.machine = client_of_host(self.host)
        self._due: asyncio.TimerHandle | None = self.close_after(HEAD_SECONDS)
        self.idle_since: float | None = time.monotonic()
        if len(self.all_open) > self.most:
            evicted = self._choose_evicted()
            evicted.idle_since = None
            evicted.abort()

    def _choose_evicted(self) -> "TimedProtocol":
        """Choose the connection to abort: the longest idle one of the machine with the most idle connections.

        Where no connection is idle, choose one of the machine with the most connections, or this one if its machine has as many.
        """
        known = [cast(TimedProtocol, connection) for connection in self.all_open if hasattr(connection, "machine")]
        if idle := [connection for connection in known if connection.idle_since and connection is not self]:
            counts = Counter(connection.machine for connection in idle)
            return min(idle, key=lambda connection: (-counts[connection.machine], connection.idle_since))
        machine, most = (counts := Counter(connection.machine for connection in known)).most_common(1)[0]
        return next(connection for connection in known if connection.machine == machine) if most > counts[self.machine] else self

    def data_received(self, data: bytes) -> None:
        """Stop the timeout while a request is answered, and start it with the next request's head."""
        super().data_received(data)
        if self.is_answering:
            if self._due:
                self._due.cancel()
            self._due = self.idle_since = None
        elif not self._due:
            self._due = self.close_after(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        """Note since when the connection is idle."""
        super().on_response_complete()
        if not self.is_answering:  # not where the next request has arrived already
            self.idle_since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        super().connection_lost(exc)
        if self._due:
            self._due.cancel()


class RateLimitFilter(logging.Filter):
    """Passes the log entry that sockets have run out once in REPEAT_SECONDS: asyncio writes it thousands of times a second."""

    def __init__(self):
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a record."""
        if not record.getMessage().startswith("socket.accept() out of system resource"):
            return True
        passes = time.monotonic() >= self._next
        if passes:
            self._next = time.monotonic() + REPEAT_SECONDS
        return passes


def install(server: Server) -> None:
    """Apply these limits to a running server, and raise the process's own limit of open files."""
    logging.getLogger("asyncio").addFilter(RateLimitFilter())
    if resource:
        files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
        if files != resource.RLIM_INFINITY and files < wanted:
            with contextlib.suppress(OSError, ValueError):  # macOS allows less than it reports
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                files = wanted
        TimedProtocol.most = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)
    use_connections(server, TimedProtocol, KEEP_ALIVE_SECONDS)
