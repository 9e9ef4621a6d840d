"""The endpoint `/attention` for programs: the tab's maps, numbers and files."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.ui.errors import user_message
from vitdemo.ui.server import served_files
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.upload import Upload, upload_of
from vitdemo.ui.sessions.model_loading import arrived
from vitdemo.ui.sessions.photo_queue import PhotoQueue
from vitdemo.ui.tabs.attention.compare import compared_whole
from vitdemo.ui.tabs.attention.sessions import AttentionSessions

if TYPE_CHECKING:
    from vitdemo.attention.question import Question
    from vitdemo.core.models.vit import Vit


def build(sessions: AttentionSessions, photo_queue: PhotoQueue) -> None:
    """Register `/attention`."""
    with gr.Row(visible=False):
        inputs = [
            component := gr.File(label="photo"),
            gr.Textbox("", label="model"),
            gr.Textbox("relevance", label="method"),
            gr.Number(0, label="layer", precision=0),
            gr.Textbox("mean", label="head"),
            gr.Textbox("", label="target"),
            gr.Textbox("", label="other"),
            gr.Textbox("mean", label="fusion"),
            gr.Number(0, label="discard"),
            gr.Number(1, label="start_layer", precision=0),
            gr.Textbox("", label="file"),
            gr.Textbox("libra", label="gradient"),
            gr.Checkbox(False, label="compare"),
        ]
        outputs = [gr.JSON(label="answer"), gr.File(label="file")]
        trigger = gr.Button()

    async def endpoint(
        photo: dict | None,
        model: str,
        method: str,
        layer: float | None,
        head: str,
        target: str,
        other: str,
        fusion: str,
        discard: float | None,
        start_layer: float | None,
        file: str,
        gradient: str,
        compare: bool,
        request: gr.Request,
    ) -> tuple[dict, str | None]:
        """One map of one photo.

        `method` is relevance, votes, fullgrad, rollout, gradient-rollout or cls; `layer` counts from 1, 0 is the last; `head` is for cls: a
        number from 0, or mean, max or min; `fusion` and `discard` are for rollout; `target` is for the others: a class by name or index,
        the top one if empty, and `other` is taken away from it; `gradient`, libra or plain, is for relevance and gradient-rollout. `model`
        is a name from the catalogue; empty for the server's own. Answers {model, method, layer, title, heat, grid, box, python, top,
        artefacts, lens}: `heat` by row and column, not rescaled; `box` the crop on the upright original; `artefacts` the [row, column] of
        patches that draw attention whatever they show; `lens` the first classes after each layer; for votes also `votes`, their ledger.
        `file` asks for one as well: png (the overlay at the photo's size), layers, gif, webp or npz. `compare` holds every method against
        random orders and the centre prior, which takes some minutes on a CPU, and answers the `comparison` too: {rows: method → metric →
        {value, low, high, chance, centre}, sentences: method → text}. With it, `photo` may be a zip of up to 100 photos, with or without
        masks in a folder `masks`: the answer is then {model, comparison}.
        """
        try:
            if (upload := upload_of(photo, component)) is None:
                raise UserError("There is no photo: send one.")
            head = head if method == "cls" else fusion if method == "rollout" else "mean"
            fields = {"method": method or "relevance", "layer": layer or None, "head": head or "mean", "gradient": gradient}
            fields |= {"discard": discard, "start_layer": start_layer or 1}
            vit, client = await arrived(sessions.store, model, request.session_hash or ""), client_of(request)
            if compare and upload.name.lower().endswith(".zip"):
                return {"model": vit.id, "comparison": await compared_whole(sessions, vit, upload, client)}, None
            ticket = photo_queue.put(lambda: _answer(sessions, upload, model, vit, fields, target, other, file), client)
            answer, made = await ticket.result
            if compare:  # minutes, for which no other photo waits
                answer["comparison"] = await compared_whole(sessions, vit, upload, client, answer.get("target"))
            return answer, made
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None

    trigger.click(endpoint, inputs, outputs, api_name="attention", concurrency_limit=None, preprocess=False)


def _question(vit: "Vit", fields: dict[str, Any], target: str, other: str) -> "Question":
    """What is asked. Raises: UserError for a method or class that there is not."""
    from vitdemo.attention.methods.gradients import find_target
    from vitdemo.attention.question import METHODS, OF_A_CLASS, OF_A_PATCH, Question

    methods = [method for method in METHODS if method not in OF_A_PATCH]
    if fields["method"] not in methods:
        raise UserError(f"method must be one of {', '.join(methods)}.")
    question = Question.parse(fields)
    if question.method not in OF_A_CLASS:
        return question
    targets: dict[str, Any] = {name: find_target(vit, text) for name, text in (("target", target), ("other", other)) if text}
    return replace(question, **targets)


def _answer(
    sessions: AttentionSessions,
    upload: Upload,
    model: str,
    vit: "Vit",
    fields: dict[str, Any],
    target: str,
    other: str,
    kind: str,
) -> tuple[dict, str | None]:
    from vitdemo.attention import question as questions  # imports torch, which the model has imported by now
    from vitdemo.attention.drawing.render import DIFFERENCE, OverlayStyle
    from vitdemo.attention.files import npz_of, numbers_of
    from vitdemo.attention.methods.artefacts import find_artefacts
    from vitdemo.attention.methods.heads import lens_table
    from vitdemo.attention.methods.votes import as_numbers
    from vitdemo.attention.snippet import snippet
    from vitdemo.core.inference.trace import check_room
    from vitdemo.core.models.snippet import weights_of
    from vitdemo.core.photos.photo import open_photo
    from vitdemo.ui.tabs.attention.downloads import KINDS, drawing, picture_of
    from vitdemo.ui.tabs.attention.page_data import class_row

    store, question = sessions.store, _question(vit, fields, target, other)
    if kind and (str(kind) not in KINDS or kind == "python"):
        raise UserError("file must be png, layers, gif, webp or npz, or empty.")
    preprocessing = vit.preprocessing
    check_room(vit, preprocessing.size, store.settings.trace_cache_mb)
    photo = open_photo(upload.path, store.settings, name=upload.name)
    tensor, geometry = preprocessing(photo.image), preprocessing.geometry(photo.image.size, vit.patch)
    trace = sessions.traces.get_input(photo.id, lambda: tensor, vit, store.engine, preprocessing)
    heats = questions.heats(question, trace, vit, store.engine, tensor)
    heat, title = heats[question.place(trace)], questions.title(question, trace, vit)
    try:
        weights = weights_of(model, vit, store.settings)
        python = snippet(question, trace, vit, preprocessing, photo=upload.name, **weights)
    except UserError:
        python = None
    top = trace.logits.softmax(-1).topk(min(5, len(vit.labels))) if vit.labels else None
    answer = {
        "model": vit.id,
        "method": question.method,
        "layer": question.layer or trace.layers,
        "title": title,
        "target": question.target,
        "heat": heat.tolist(),
        "grid": trace.grid,
        "box": geometry.box,
        "python": python,
        "artefacts": find_artefacts(trace).places,
        "top": [class_row(vit, *pair) for pair in zip(top.indices.tolist(), top.values.tolist(), strict=True)] if top else [],
    }
    if votes := questions.votes_of(question, trace, vit, store.engine):
        answer["votes"] = {name: values.tolist() for name, values in as_numbers(votes).items()}
    if vit.labels:
        answer["lens"] = [[class_row(vit, *pair) for pair in row.classes] for row in lens_table(trace, vit, store.engine)]
    if not kind:
        return answer, None
    style = OverlayStyle(DIFFERENCE) if question.signed else OverlayStyle()
    with drawing(geometry):
        if kind == "npz":
            data = npz_of(numbers_of(question, heats, trace, vit, store.engine, geometry))
        else:
            data = picture_of(kind, question, heats, trace, geometry, photo, style, title)
    return answer, served_files.write(Path(get_upload_folder(), f"attention-{secrets.token_hex(16)}"), KINDS[kind], data, store.settings)
