"""The photo that travels from tab to tab."""

from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True)
class CurrentPhoto:
    """What the other tabs need to look at the same photo in the same way: the photo, and the controls of its preprocessing."""

    photo: gr.Image
    recipe: list[gr.Dropdown]
