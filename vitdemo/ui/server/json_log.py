"""Write the log as JSON, one object per line, for `--log-json`. The log holds no visitor's data.

Of a message, only the text in our source is written, never the values filled in, except LOG_FIELDS. Of an exception, its type and the lines
of its traceback are written, never its text. Of a request, its route is written, never its path.
"""

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import cast

HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LOG_FIELDS = ("fault", "kind", "state", "photos", "method", "route", "status", "seconds", "waited", "model", "device", "address", "error")
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object."""
        ours = record.name.startswith("vitdemo")
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if ours else f"{record.name}, {record.module} {record.lineno}",
            **{name: getattr(record, name) for name in LOG_FIELDS if hasattr(record, name)},
        }
        if record.exc_info and record.exc_info[1]:
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__
            line["at"] = [f"{Path(frame.filename).name} {frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
        return json.dumps(line)


def use_json() -> None:
    """From now on, write the whole process's log as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vitdemo").setLevel(logging.INFO)
    # the value may be None, which logging accepts although its type does not say so
    threading.excepthook = lambda raised: log.error("a thread has failed", exc_info=cast(ExcInfo, raised[:3]))
    sys.excepthook = lambda *raised: log.error("the app has failed", exc_info=raised)


def take_over(*names: str) -> None:
    """Remove the handlers of loggers, so that their records reach our handler."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def log_request(method: str, route: str, status: int, seconds: float) -> None:
    """Log a request once it has been answered."""
    method = method if method in HTTP_METHODS else "other"  # a client may send any word
    log.info("request", extra={"method": method, "route": route, "status": status, "seconds": round(seconds, 3)})
