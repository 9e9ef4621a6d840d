"""The named endpoints, for programs: the same answers as the page's, as JSON."""

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.ui.guard import sentence
from vitdemo.ui.upload import upload_of


def build(store: ModelStore) -> None:
    """Register `/classify`."""
    with gr.Row(visible=False):
        inputs = [
            component := gr.Image(label="photo", type="filepath", image_mode=None),
            gr.Textbox("", label="model"),
            gr.Number(5, label="top", precision=0),
        ]
        answer = gr.JSON(label="answer")
        trigger = gr.Button()

    def endpoint(photo: dict | None, model: str, top: int, request: gr.Request) -> dict:
        """The top classes of one photo.

        `model` is a name from the catalogue; empty for the server's own. Answers {model, seconds, predictions: [{index, label, synset,
        probability}, …]}, likeliest first. The first call may wait for the model to load.
        """
        from vitdemo.classify import classify
        from vitdemo.core.photos import open_photo

        try:
            if (upload := upload_of(photo, component)) is None:
                raise UserError("There is no photo: send one.")
            if isinstance(top, bool) or not isinstance(top, int | float) or top != int(top) or not 1 <= top <= 1000:
                raise UserError("top must be a whole number from 1 to 1000.")
            vit = store.get(model or None, request.session_hash or "").result(timeout=300)
            opened = open_photo(upload.path, store.settings, name=upload.name)
            result = classify(opened.image, vit, store.engine, top=int(top))
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        return {"model": vit.name, "seconds": result.seconds, "predictions": [each.as_row() for each in result.predictions]}

    trigger.click(endpoint, inputs, answer, api_name="classify", concurrency_id="model", preprocess=False)
