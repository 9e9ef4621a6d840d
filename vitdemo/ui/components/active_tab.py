"""Track the open tab, so that a tab answers for the current photo only while it is open."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class ActiveTab:
    """One tab, and the name of the open tab.

    Attributes:
        active: holds the name of the open tab; an input of every event that answers for the current photo. The name lives in the browser,
            where tabs are opened one after the other: two messages sent to the server at once may arrive in either order.
        tab: the tab itself.
    """

    active: gr.Textbox
    tab: gr.Tab

    def then(self, fn: Callable, inputs: list, outputs: gr.HTML | list, **rest: Any) -> None:
        """Run an event whenever the tab is opened, after noting its name."""
        noted = self.tab.select(None, None, self.active, js=f"() => {json.dumps(self.tab.id)}", trigger_mode="multiple")
        noted.then(fn, inputs, outputs, **rest)
