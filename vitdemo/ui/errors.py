"""Turn every error into one sentence for the visitor. Unexpected errors are logged under a number that the sentence names."""

import logging
import re
import secrets
import traceback
from pathlib import Path

from vitdemo.core.errors import UserError

LEAVING = "The app is being stopped: try again in a minute."
NOT_UNDERSTOOD = "This request can't be understood: reload the page and try again."
CALL_NOT_UNDERSTOOD = f"{NOT_UNDERSTOOD} Programs find all endpoints and parameters at /gradio_api/info."
PACKAGE = Path(__file__).parents[1]
MIDDLEWARE_MODULES = (
    "gradio_internals",
    "gatekeeper",
    "body_limits",
    "response_headers",
    "request_observer",
)  # modules of ours that Gradio is called through: their frames do not make an error ours
PATH_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:;,“”()]+[/\\])+")
log = logging.getLogger(__name__)


def user_message(error: Exception) -> str:
    """The sentence that tells the visitor what went wrong. The caller escapes it where the sentence becomes HTML.

    Any error other than a UserError is logged under a random number.
    """
    if isinstance(error, UserError):
        return without_paths(str(error))
    number = secrets.token_hex(3)
    log.error("fault %s", number, exc_info=error, extra={"fault": number})
    return f"Something went wrong here, and it is not your photo's fault: try again, or tell the operator number {number}."


def without_paths(text: str) -> str:
    """Remove the folders from all file paths in a sentence, so that only the file names stay."""
    return PATH_FOLDERS.sub("", text)


def error_message(error: Exception) -> str:
    """The sentence for an error that came through Gradio. An error outside our own code is Gradio's refusal of the request."""
    files = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, UserError) or any(file.is_relative_to(PACKAGE) and file.stem not in MIDDLEWARE_MODULES for file in files):
        return user_message(error)
    log.warning("a request was not understood: %s", type(error).__name__, extra={"kind": type(error).__name__})
    return CALL_NOT_UNDERSTOOD
