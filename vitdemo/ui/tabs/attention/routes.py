"""Server functions for the Attention tab's script: other classes, one head, the answer without some heads, the erase test, downloads."""

import base64
from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui.errors import errors_as_answer, named_partial
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.attention import erase
from vitdemo.ui.tabs.attention.page_data import class_row, head_numbers
from vitdemo.ui.tabs.attention.sessions import AttentionSessions

MAX_FOUND_CLASSES = 8  # shown by a search


def functions(sessions: AttentionSessions) -> list[Callable]:
    """The `server_functions` of the tab's gr.HTML: each takes one object, and returns {error} after an error."""
    handlers = (_classes, _relevance, _head, _ablate, _download, erase.erase, erase.erased)
    return [errors_as_answer(named_partial(handler, sessions)) for handler in handlers]


def _classes(sessions: AttentionSessions, payload: dict) -> dict:
    """Search the classes by name, synset or index: exact matches first, then names that begin with the words, then by probability."""
    session = sessions.get(payload.get("scene"))
    vit = sessions.vit(session)
    words = str(payload.get("words") or "").strip().casefold()[:100]
    if not words or not vit.labels:
        return {"classes": []}
    matches = []
    for label in vit.labels:
        names = [name.strip() for name in label.name.casefold().split(",")]
        if words in (label.synset, str(label.index)) or any(words in name for name in names):
            matches.append((words not in (*names, str(label.index)), not any(name.startswith(words) for name in names), label))
    probabilities = sessions.trace(session, vit).logits.softmax(-1)
    matches.sort(key=lambda match: (*match[:2], -float(probabilities[match[2].index])))
    rows = [
        class_row(vit, label.index, float(probabilities[label.index])) | {"whole": label.name}
        for _, _, label in matches[:MAX_FOUND_CLASSES]
    ]
    return {"classes": rows, "more": max(0, len(matches) - MAX_FOUND_CLASSES)}


def _relevance(sessions: AttentionSessions, payload: dict) -> dict:
    """One class's relevance at every layer, (layers, patches) float32 in base64."""
    session, target = sessions.get(payload.get("scene")), payload.get("target")
    vit = sessions.vit(session)
    if isinstance(target, bool) or not isinstance(target, int):
        raise UserError("There is no such class: choose one from the list.")
    heats = sessions.relevance(session, vit, target).flatten(1).contiguous().numpy()
    probability = float(sessions.trace(session, vit).logits.softmax(-1)[target])
    return {"heats": base64.b64encode(heats.astype("<f4").tobytes()).decode(), **class_row(vit, target, probability)}


def _head(sessions: AttentionSessions, payload: dict) -> dict:
    """Write one head's attention at every layer to a file. Returns: its path and sections."""
    from vitdemo.attention.question import Question

    session = sessions.get(payload.get("scene"))
    head = Question.parse({"head": payload.get("head")}).head
    trace = sessions.trace(session, sessions.vit(session))
    data, sections = pack(head_numbers(trace, head))
    return {"path": session.write(f"head-{head}.bin", data), "sections": sections}


def _ablate(sessions: AttentionSessions, payload: dict) -> dict:
    """The leading classes' probabilities with all heads, and without some heads."""
    from vitdemo.attention.methods.ablation import ablate

    session = sessions.get(payload.get("scene"))
    vit = sessions.vit(session)
    heads = payload.get("heads")
    if not isinstance(heads, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in heads[:4096]
    ):
        raise UserError("Name the heads to switch off by layer and head.")
    ablation = ablate(vit, sessions.store.engine, session.tensor, dict.fromkeys(map(tuple, heads[:4096])))
    return {"moves": [{**class_row(vit, move.label.index, move.before), "after": move.after} for move in ablation.moves]}


def _download(sessions: AttentionSessions, payload: dict) -> dict:
    """The path of a file, or the text of a snippet."""
    from vitdemo.ui.tabs.attention.downloads import download

    return download(sessions, sessions.get(payload.get("scene")), payload)
