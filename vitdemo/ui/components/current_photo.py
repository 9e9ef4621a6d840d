"""The photo that all tabs share."""

from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True)
class CurrentPhoto:
    """What the other tabs need to process the same photo in the same way.

    Attributes:
        photo: the photo.
        recipe: the controls of its preprocessing.
    """

    photo: gr.Image
    recipe: list[gr.Dropdown]
