"""What Gradio keeps of each visitor's session, made light, and kept as long as it is needed.

Its own sessions write down the whole page, every component with its latest value, for links that lead to a state; there are none here. Each
call of a program is a session of its own, so that took more of the server's time than the model did, and a hundred kilobytes.

The answers on their way to sessions it keeps for the latest 2,000, answered or not: somebody who waited for a gallery lost theirs when so
many others had been served meanwhile.
"""

from collections import OrderedDict
from copy import copy
from typing import Any

import gradio as gr
from gradio.components import State
from gradio.queueing import Queue
from gradio.state_holder import SessionState, StateHolder

MAX_MAILBOXES = 500  # sessions whose answers have been fetched, or never were
KEPT_SHARE = 0.8  # share of them that stays when there are more


class Session(SessionState):
    """A session that remembers the values of gr.State, and nothing of the page."""

    def __init__(self, page: gr.Blocks):
        self.blocks_config = copy(page.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds; who comes back later is answered anew

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
    """The sessions of a page."""

    def __init__(self, page: gr.Blocks):
        super().__init__()
        self.set_blocks(page)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
        return super().__getitem__(session_id)


class Mailboxes(OrderedDict):
    """Session → what it is to be told. Those of sessions that wait for something stay; of the others the oldest go."""

    def __init__(self, queue: Queue):
        super().__init__()
        self._queue = queue

    def __setitem__(self, session_id: str, messages: Any) -> None:
        super().__setitem__(session_id, messages)
        if len(self) <= MAX_MAILBOXES:
            return
        waiting = {event.session_hash for event in list(self._queue.event_ids_to_events.values())}
        if len(self) - len(waiting) > MAX_MAILBOXES:
            idle = [each for each in self if each not in waiting and each != session_id]
            for each in idle[: len(idle) - int(KEPT_SHARE * MAX_MAILBOXES)]:
                del self[each]
                self._queue.pending_event_ids_session.pop(each, None)


def install(page: gr.Blocks) -> None:
    """Use these in a page that has been launched."""
    page.app.state_holder = Sessions(page)
    page._queue.pending_messages_per_session = Mailboxes(page._queue)
