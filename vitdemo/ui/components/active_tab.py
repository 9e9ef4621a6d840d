"""Which tab is open, so that each one answers for the current photo when it is visited, and only then."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class ActiveTab:
    """One tab's view of it.

    Attributes:
        active: holds the name of the tab that is open; an input of every event that answers for the current photo. It lives in the browser,
            where tabs are opened one after the other: two notes sent to the server at once may arrive in either order.
    """

    active: gr.Textbox
    tab: gr.Tab

    def then(self, fn: Callable, inputs: list, outputs: list, **rest: Any) -> None:
        """Note that the tab was opened, then run an event."""
        noted = self.tab.select(None, None, self.active, js=f"() => {json.dumps(self.tab.id)}", trigger_mode="multiple")
        noted.then(fn, inputs, outputs, **rest)
