"""Sessions' message queues, kept as long as a session needs them.

Gradio keeps the message queues of the latest 2,000 sessions, answered or not: a visitor who waited for a gallery lost the answer when as
many other sessions had been served meanwhile.
"""

from collections import OrderedDict
from typing import Any

import gradio as gr

from vitdemo.ui.server.gradio_internals import Queue, forget_session, replace_sessions, waiting_sessions

MAX_MAILBOXES = 500  # of sessions that wait for no answer
KEPT_SHARE = 0.8  # of MAX_MAILBOXES, stays after an eviction


class Mailboxes(OrderedDict):
    """Session → its message queue. Queues of sessions that wait for an answer are kept; of the others, the oldest are evicted."""

    def __init__(self, queue: Queue):
        super().__init__()
        self._queue = queue

    def __setitem__(self, session_id: str, messages: Any) -> None:
        super().__setitem__(session_id, messages)
        if len(self) <= MAX_MAILBOXES:
            return
        waiting = waiting_sessions(self._queue)
        if len(self) - len(waiting) > MAX_MAILBOXES:
            idle = [kept for kept in self if kept not in waiting and kept != session_id]
            for evicted in idle[: len(idle) - int(KEPT_SHARE * MAX_MAILBOXES)]:
                del self[evicted]
                forget_session(self._queue, evicted)


def install(page: gr.Blocks) -> None:
    """Replace the sessions and message queues of a launched page by smaller sessions and Mailboxes."""
    replace_sessions(page, Mailboxes)
