"""Smaller Gradio sessions, and message queues that are kept as long as a session needs them.

Gradio's own session stores the whole page, every component with its latest value, for links to a state; this app has no such links. Each
API call is a new session, so that this storage took more of the server's time than the model did, and a hundred kilobytes per call.

Gradio keeps the message queues of the latest 2,000 sessions, answered or not: a visitor who waited for a gallery lost the answer when as
many other sessions had been served meanwhile.
"""

from collections import OrderedDict
from copy import copy
from typing import Any

import gradio as gr
from gradio.components import State
from gradio.queueing import Queue
from gradio.state_holder import SessionState, StateHolder

MAX_MAILBOXES = 500  # of sessions that wait for no answer
KEPT_SHARE = 0.8  # of MAX_MAILBOXES, stays after an eviction


class Session(SessionState):
    """A session that stores only the values of gr.State, and nothing else of the page."""

    def __init__(self, page: gr.Blocks):
        self.blocks_config = copy(page.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds; a visitor who comes back later gets a new state

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(self.blocks_config.blocks.get(key), State):
            super().__setitem__(key, value)
            self.config_values.clear()
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class Sessions(StateHolder):
    """The sessions of a page, created on first use."""

    def __init__(self, page: gr.Blocks):
        super().__init__()
        self.set_blocks(page)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
        return super().__getitem__(session_id)


class Mailboxes(OrderedDict):
    """Session → its message queue. Queues of sessions that wait for an answer are kept; of the others, the oldest are evicted."""

    def __init__(self, queue: Queue):
        super().__init__()
        self._queue = queue

    def __setitem__(self, session_id: str, messages: Any) -> None:
        super().__setitem__(session_id, messages)
        if len(self) <= MAX_MAILBOXES:
            return
        waiting = {event.session_hash for event in list(self._queue.event_ids_to_events.values())}
        if len(self) - len(waiting) > MAX_MAILBOXES:
            idle = [kept for kept in self if kept not in waiting and kept != session_id]
            for evicted in idle[: len(idle) - int(KEPT_SHARE * MAX_MAILBOXES)]:
                del self[evicted]
                self._queue.pending_event_ids_session.pop(evicted, None)


def install(page: gr.Blocks) -> None:
    """Replace the sessions and message queues of a launched page by these."""
    page.app.state_holder = Sessions(page)
    mailboxes: Any = Mailboxes(page._queue)  # not Gradio's LRUCache, of which Gradio uses only what every dict has
    page._queue.pending_messages_per_session = mailboxes
