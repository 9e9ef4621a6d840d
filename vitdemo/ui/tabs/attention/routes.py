"""What the Attention tab's script asks of the server: another class, one head, an answer without some heads, files to take away."""

import base64
from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui.errors import errors_as_answer, named_partial
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.attention import erase
from vitdemo.ui.tabs.attention.page_data import class_row, head_numbers
from vitdemo.ui.tabs.attention.sessions import AttentionSessions

MAX_FOUND_CLASSES = 8  # classes that a search shows


def functions(sessions: AttentionSessions) -> list[Callable]:
    """For gr.HTML's `server_functions`: each takes one object, and answers {error} for what goes wrong."""
    asked = (_classes, _relevance, _head, _ablate, _download, erase.erase, erase.erased)
    return [errors_as_answer(named_partial(each, sessions)) for each in asked]


def _classes(sessions: AttentionSessions, asked: dict) -> dict:
    """The classes whose name, synset or index fits some words, those that begin with them first, then by probability."""
    session = sessions.get(asked.get("scene"))
    vit = sessions.vit(session)
    words = str(asked.get("words") or "").strip().casefold()[:100]
    if not words or not vit.labels:
        return {"classes": []}
    found = []
    for each in vit.labels:
        names = [name.strip() for name in each.name.casefold().split(",")]
        if words in (each.synset, str(each.index)) or any(words in name for name in names):
            found.append((words not in (*names, str(each.index)), not any(name.startswith(words) for name in names), each))
    chances = sessions.trace(session, vit).logits.softmax(-1)
    found.sort(key=lambda each: (*each[:2], -float(chances[each[2].index])))
    rows = [class_row(vit, each.index, float(chances[each.index])) | {"whole": each.name} for _, _, each in found[:MAX_FOUND_CLASSES]]
    return {"classes": rows, "more": max(0, len(found) - MAX_FOUND_CLASSES)}


def _relevance(sessions: AttentionSessions, asked: dict) -> dict:
    """One class's relevance at every layer, (layers, patches) float32 in base64."""
    session, target = sessions.get(asked.get("scene")), asked.get("target")
    vit = sessions.vit(session)
    if isinstance(target, bool) or not isinstance(target, int):
        raise UserError("There is no such class: choose one from the list.")
    heats = sessions.relevance(session, vit, target).flatten(1).contiguous().numpy()
    chance = float(sessions.trace(session, vit).logits.softmax(-1)[target])
    return {"heats": base64.b64encode(heats.astype("<f4").tobytes()).decode(), **class_row(vit, target, chance)}


def _head(sessions: AttentionSessions, asked: dict) -> dict:
    """The path of a file with one head's attention at every layer."""
    from vitdemo.attention.question import Question

    session = sessions.get(asked.get("scene"))
    head = Question.read({"head": asked.get("head")}).head
    trace = sessions.trace(session, sessions.vit(session))
    data, sections = pack(head_numbers(trace, head))
    return {"path": session.write(f"head-{head}.bin", data), "sections": sections}


def _ablate(sessions: AttentionSessions, asked: dict) -> dict:
    """The leading classes with all heads, and without some."""
    from vitdemo.attention.methods.ablation import ablate

    session = sessions.get(asked.get("scene"))
    vit = sessions.vit(session)
    heads = asked.get("heads")
    if not isinstance(heads, list) or not all(
        isinstance(each, list) and len(each) == 2 and all(type(number) is int for number in each) for each in heads[:4096]
    ):
        raise UserError("Name the heads to switch off by layer and head.")
    found = ablate(vit, sessions.store.engine, session.tensor, dict.fromkeys(map(tuple, heads[:4096])))
    return {"moves": [{**class_row(vit, each.label.index, each.before), "after": each.after} for each in found.moves]}


def _download(sessions: AttentionSessions, asked: dict) -> dict:
    """The path of a file, or the text of a snippet."""
    from vitdemo.ui.tabs.attention.downloads import download

    return download(sessions, sessions.get(asked.get("scene")), asked)
