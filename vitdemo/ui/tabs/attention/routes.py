"""What the Attention tab's script asks of the server: another class, one head, an answer without some heads, files to take away."""

import base64
from collections.abc import Callable

from vitdemo.core.errors import UserError
from vitdemo.ui import attention_erase
from vitdemo.ui.attention_looks import class_row, head_numbers
from vitdemo.ui.attention_scenes import Scenes
from vitdemo.ui.guard import answering, bound
from vitdemo.ui.packing import pack

FOUND = 8  # classes that a search shows


def functions(scenes: Scenes) -> list[Callable]:
    """For gr.HTML's `server_functions`: each takes one object, and answers {error} for what goes wrong."""
    asked = (_classes, _relevance, _head, _ablate, _download, attention_erase.erase, attention_erase.erased)
    return [answering(bound(each, scenes)) for each in asked]


def _classes(scenes: Scenes, asked: dict) -> dict:
    """The classes whose name, synset or index fits some words, those that begin with them first, then by probability."""
    scene = scenes.get(asked.get("scene"))
    vit = scenes.vit(scene)
    words = str(asked.get("words") or "").strip().casefold()[:100]
    if not words or not vit.labels:
        return {"classes": []}
    found = []
    for each in vit.labels:
        names = [name.strip() for name in each.name.casefold().split(",")]
        if words in (each.synset, str(each.index)) or any(words in name for name in names):
            found.append((words not in (*names, str(each.index)), not any(name.startswith(words) for name in names), each))
    chances = scenes.trace(scene, vit).logits.softmax(-1)
    found.sort(key=lambda each: (*each[:2], -float(chances[each[2].index])))
    rows = [class_row(vit, each.index, float(chances[each.index])) | {"whole": each.name} for _, _, each in found[:FOUND]]
    return {"classes": rows, "more": max(0, len(found) - FOUND)}


def _relevance(scenes: Scenes, asked: dict) -> dict:
    """One class's relevance at every layer, (layers, patches) float32 in base64."""
    scene, target = scenes.get(asked.get("scene")), asked.get("target")
    vit = scenes.vit(scene)
    if isinstance(target, bool) or not isinstance(target, int):
        raise UserError("There is no such class: choose one from the list.")
    heats = scenes.relevance(scene, vit, target).flatten(1).contiguous().numpy()
    chance = float(scenes.trace(scene, vit).logits.softmax(-1)[target])
    return {"heats": base64.b64encode(heats.astype("<f4").tobytes()).decode(), **class_row(vit, target, chance)}


def _head(scenes: Scenes, asked: dict) -> dict:
    """The path of a file with one head's attention at every layer."""
    from vitdemo.attention.question import Question

    scene = scenes.get(asked.get("scene"))
    head = Question.read({"head": asked.get("head")}).head
    trace = scenes.trace(scene, scenes.vit(scene))
    data, sections = pack(head_numbers(trace, head))
    return {"path": scene.write(f"head-{head}.bin", data), "sections": sections}


def _ablate(scenes: Scenes, asked: dict) -> dict:
    """The leading classes with all heads, and without some."""
    from vitdemo.attention.ablation import ablate

    scene = scenes.get(asked.get("scene"))
    vit = scenes.vit(scene)
    heads = asked.get("heads")
    if not isinstance(heads, list) or not all(
        isinstance(each, list) and len(each) == 2 and all(type(number) is int for number in each) for each in heads[:4096]
    ):
        raise UserError("Name the heads to switch off by layer and head.")
    found = ablate(vit, scenes.store.engine, scene.tensor, dict.fromkeys(map(tuple, heads[:4096])))
    return {"moves": [{**class_row(vit, each.label.index, each.before), "after": each.after} for each in found.moves]}


def _download(scenes: Scenes, asked: dict) -> dict:
    """The path of a file, or the text of a snippet."""
    from vitdemo.ui.attention_downloads import download

    return download(scenes, scenes.get(asked.get("scene")), asked)
