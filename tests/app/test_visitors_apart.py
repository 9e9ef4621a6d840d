"""One visitor gets nothing of another's: not by guessing, not by paths, not by identifiers that were somebody's."""

import json
import re

import pytest

from tests.support.http import Visitor, things_of
from tests.support.waiting import until

pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def place(start_app, bundle, tmp_path_factory):
    home = tmp_path_factory.mktemp("apart")
    server = start_app("--model", f"local-dir:{bundle}", "--temp-dir", str(home))
    server.home = home
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ada(place, picture):
    """A visitor with a gallery, a map, a lesson and a photo on show."""
    visitor = Visitor(place)
    visitor.session = "ada"
    visitor.things = things_of(visitor, picture)
    return visitor


@pytest.fixture(scope="module")
def eve(place):
    visitor = Visitor(place)
    visitor.session = "eve"
    return visitor


def ask(visitor, part: str, function: str, data: object) -> dict:
    """What a part of the page's own function answers."""
    parts = {each["props"].get("elem_id"): each["id"] for each in visitor.config["components"]}
    body = {"component_id": parts[part], "session_hash": visitor.session, "fn_name": function, "data": data}
    return json.loads(visitor.send("POST", "/gradio_api/component_server", body)[1])


DOORS = (("gallery", "poll", "run", "gallery"), ("embeddings", "poll", "run", "embeddings"), ("finetune", "poll", "lesson", "lesson"))


@pytest.mark.parametrize(("part", "function", "name", "thing"), [*DOORS, ("attention", "classes", "scene", "scene")])
def test_only_the_whole_identifier_opens(ada, eve, part, function, name, thing):
    id = ada.things[thing]
    assert len(id) >= 32  # 128 bits and more
    assert "error" not in ask(ada, part, function, {name: id, "words": "cat"})
    odd = [None, "", "*", "%", ".", "..", [id], {"$ne": None}, {name: id}, True, 0, -1]
    tries = [*odd, id[:-1], id + "x", id.swapcase(), f"{id}/", f"../{id}"]
    for each in tries:
        told = ask(eve, part, function, {name: each, "words": "cat"})
        assert list(told) == ["error"], (each, told)
        assert "not here any more" in told["error"]


def test_nothing_is_served_but_by_its_whole_path(ada, eve, place):
    (folder,) = place.home.iterdir()
    lesson = folder / "lessons" / ada.things["lesson"]
    (lesson / "job").mkdir(exist_ok=True)
    (lesson / "job" / "errors.txt").write_text("Traceback")
    run = folder / f"gallery-{ada.things['gallery']}"
    hidden = [lesson / "job" / "errors.txt", lesson, folder / ".in-use", folder, folder / "lessons", run]
    for path in hidden:
        for way in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}", f"/gradio_api/file={folder}/x/../{path.relative_to(folder)}"):
            status, text = eve.send("GET", way)
            assert status in (403, 404), (way, text)
            assert "Traceback" not in text
    for name in ("lessons", "exports", ".in-use"):  # other spellings of what is hidden
        assert eve.send("GET", f"/gradio_api/file={folder}/{name.upper()}/x")[0] in (403, 404)


def test_another_s_session_tells_nothing_to_who_does_not_know_it(ada, eve):
    for session in ("", "ad", "ADA", "ada*", "undefined", "null"):
        text = eve.send("GET", f"/gradio_api/queue/data?session_hash={session}")[1]
        assert "process_" not in text
    text = eve.send("GET", "/gradio_api/call/classify/0123456789abcdef0123456789abcdef")[1]
    assert "complete" not in text


def test_what_was_dropped_stays_dropped(ada, eve, place):
    """A new gallery of the same photos has another identifier, and the visitor's earlier one is stopped, not replaced."""
    first = ada.things["gallery"]
    parts = {each["props"].get("elem_id"): each["id"] for each in ada.config["components"]}
    give = next(each for each in ada.config["dependencies"] if each["targets"] == [[parts["gallery"], "upload"]])
    said = ada.join(give["id"], [""], {"files": "examples", "request": 2})
    second = re.search(r'"run": ?"([^"]+)"', said)[1]
    assert second != first
    until(lambda: ask(ada, "gallery", "poll", {"run": second})["state"] in ("done", "stopped"))
    assert ask(eve, "gallery", "download", {"run": first + second, "kind": "csv"})["error"]
