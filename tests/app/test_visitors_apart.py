"""One visitor gets nothing of another's: not by guessing, not by paths, not by identifiers that were somebody's."""

import pytest

from tests.support.http import Visitor, things_of
from tests.support.waiting import until
from vitdemo.ui.errors import NOT_UNDERSTOOD

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


DOORS = (
    ("classify", "poll", "gallery"),
    ("embeddings", "poll", "gallery"),
    ("finetune", "poll", "session"),
    ("attention", "classes", "session"),
)


@pytest.mark.parametrize(("tab", "route", "name"), DOORS)
def test_only_the_whole_identifier_opens(ada, eve, tab, route, name):
    id = ada.things[tab]
    assert len(id) >= 32  # 128 bits and more
    assert not ada.ask(f"{tab}/{route}", **{name: id}).get("error")
    odd = [None, "", "*", "%", ".", "..", [id], {"$ne": None}, {name: id}, True, 0, -1]
    tries = [*odd, id[:-1], id + "x", id.swapcase(), f"{id}/", f"../{id}"]
    for each in tries:
        told = eve.ask(f"{tab}/{route}", **{name: each})
        assert list(told) == ["error"], (each, told)
        assert "not here any more" in told["error"] if isinstance(each, str | None) else told["error"] == NOT_UNDERSTOOD


def test_nothing_is_served_but_by_its_whole_path(ada, eve, place):
    (folder,) = place.home.iterdir()
    lesson = folder / "lessons" / ada.things["finetune"]
    (lesson / "job").mkdir(exist_ok=True)
    (lesson / "job" / "errors.txt").write_text("Traceback")
    run = folder / f"gallery-{ada.things['classify']}"
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
    first = ada.things["classify"]
    second = ada.ask("classify/start", files="drawings")["gallery"]
    assert second != first
    until(lambda: ada.ask("classify/poll", gallery=second)["state"] in ("done", "stopped"))
    assert eve.ask("classify/download", gallery=first + second, kind="csv")["error"]
