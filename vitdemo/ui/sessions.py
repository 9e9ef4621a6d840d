"""What Gradio keeps of each visitor's session, made light.

Its own sessions write down the whole page, every component with its latest value, for links that lead to a state; there are none here. Each
call of a program is a session of its own, so that took more of the server's time than the model did, and a hundred kilobytes.
"""

from copy import copy
from typing import Any

import gradio as gr
from gradio.components import State
from gradio.state_holder import SessionState, StateHolder


class Session(SessionState):
    """A session that remembers the values of gr.State, and nothing of the page."""

    def __init__(self, page: gr.Blocks):
        self.blocks_config = copy(page.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds; nobody can come back to a session

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
