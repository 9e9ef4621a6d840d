"""Turns whatever goes wrong into one sentence for a person. Faults of ours are logged under a number that the sentence names."""

import logging
import re
import secrets
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from vitdemo.core.errors import UserError

LEAVING = "The app is being stopped: try again in a minute."
NOT_UNDERSTOOD = "This request can't be understood: reload the page and try again."
PACKAGE = Path(__file__).parents[1]
MIDDLEWARE_MODULES = (
    "errors",
    "gatekeeper",
    "body_limits",
    "security_headers",
    "metrics",
    "json_log",
)  # modules of ours that Gradio runs inside
PATH_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:;,“”()]+[/\\])+")
log = logging.getLogger(__name__)


def user_message(error: Exception) -> str:
    """What to tell the visitor. The caller escapes it where it becomes HTML."""
    if isinstance(error, UserError):
        return without_paths(str(error))
    number = secrets.token_hex(3)
    log.error("fault %s", number, exc_info=error, extra={"fault": number})
    return f"Something went wrong here, and it is not your photo's fault: try again, or tell the operator number {number}."


def without_paths(text: str) -> str:
    """A sentence that names the server's files by their last part alone."""
    return PATH_FOLDERS.sub("", text)


class Page(gr.Blocks):
    """A page whose own faults, and requests that it can't read, are answered with a sentence as well."""

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*arguments, **named)
        except Exception as error:
            if type(error) is gr.Error and not error.print_exception:  # one of ours
                raise
            raise gr.Error(error_message(error), print_exception=False) from None


def error_message(error: Exception) -> str:
    """What to tell of an error that came through Gradio. One that did not come up in our own code is its refusal of what was sent."""
    files = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, UserError) or any(each.is_relative_to(PACKAGE) and each.stem not in MIDDLEWARE_MODULES for each in files):
        return user_message(error)
    log.warning("a request was not understood: %s", type(error).__name__, extra={"kind": type(error).__name__})
    return NOT_UNDERSTOOD


def event_payload(event: gr.EventData) -> dict:
    """What the page's script sent with an event; nothing of what it would not send."""
    return event._data if isinstance(event._data, dict) else {}


def named_partial(function: Callable[[Any, dict], dict], first: Any) -> Callable[[dict], dict]:
    """A module's private function with its first argument given, under the name by which the page's script calls it."""

    def call(asked: dict) -> dict:
        return function(first, asked)

    call.__name__ = function.__name__.lstrip("_")
    return call


def errors_as_answer(function: Callable[[dict], dict]) -> Callable[[Any], dict]:
    """A function that a page's script calls with one object; what goes wrong comes back as {error}."""

    def answer(asked: Any) -> dict:
        try:
            return function(asked if isinstance(asked, dict) else {})
        except Exception as error:
            return {"error": user_message(error)}

    answer.__name__ = function.__name__
    return answer
