"""Connections: how many there may be, how long each may take to ask for something, and their end. The server itself bounds none of it."""

import contextlib
import logging
import time
from collections import Counter

from uvicorn import Server
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from vitdemo.ui.server.client import client_of_host

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

MAX_CONNECTIONS = 1000  # connections, and at most half as many as files may be open
MAX_OPEN_FILES = 1 << 16  # that the process may have open, if the system allows so many
HEAD_SECONDS = 20.0  # seconds for a request's first lines
KEEP_ALIVE_SECONDS = 75  # seconds for which a connection stays open for another request: longer than callers and proxies count on
REPEAT_SECONDS = 60.0  # seconds for which the want of sockets is not told again


class TimedProtocol(AutoHTTPProtocol):
    """A connection that is closed where a request's head does not come in time, or where others need its place."""

    most = MAX_CONNECTIONS

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.machine = client_of_host(self.client[0]) if self.client else ""
        self._due = self.loop.call_later(HEAD_SECONDS, transport.close)
        self.idle_since = time.monotonic()
        if len(self.connections) > self.most:
            gone = self._to_go()
            gone.idle_since = None
            gone.transport.abort()

    def _to_go(self) -> "TimedProtocol":
        """The connection that makes room for this one: an idle one of the machine that has the most of those, or else one at work of the
        machine that has the most of all. It is this one where its own machine has as many.
        """
        known = [each for each in self.connections if hasattr(each, "machine")]
        if idle := [each for each in known if each.idle_since and each is not self]:
            many = Counter(each.machine for each in idle)
            return min(idle, key=lambda each: (-many[each.machine], each.idle_since))
        crowd, most = (many := Counter(each.machine for each in known)).most_common(1)[0]
        return next(each for each in known if each.machine == crowd) if most > many[self.machine] else self

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete:
            self._due, self.idle_since = self._due and self._due.cancel(), None
        elif not self._due:
            self._due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next request was here already
            self.idle_since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._due:
            self._due.cancel()


class RateLimitFilter(logging.Filter):
    """Lets the complaint that sockets have run out through once a minute: asyncio makes it thousands of times a second."""

    def __init__(self):
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.getMessage().startswith("socket.accept() out of system resource"):
            return True
        passes = time.monotonic() >= self._next
        if passes:
            self._next = time.monotonic() + REPEAT_SECONDS
        return passes


def install(server: Server) -> None:
    """Have a running server keep to this, and let the process open as many files as it may."""
    logging.getLogger("asyncio").addFilter(RateLimitFilter())
    if resource:
        files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
        if files != resource.RLIM_INFINITY and files < wanted:
            with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                files = wanted
        TimedProtocol.most = MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)
    server.config.timeout_keep_alive = KEEP_ALIVE_SECONDS
    server.config.http_protocol_class = TimedProtocol


def hang_up(server: Server) -> None:
    """Close every connection, as if its caller had gone: streams end by themselves then."""

    def close() -> None:
        for each in list(server.server_state.connections):
            each.transport.close()

    server.servers[0].get_loop().call_soon_threadsafe(close)
