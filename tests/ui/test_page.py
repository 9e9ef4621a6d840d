"""The page as a whole: what programs may call, how its events run, and that all tabs' routes are there."""

import json
from collections import Counter

import pytest

from vitdemo.core.config import Settings
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui import page
from vitdemo.ui.server.page_routes import SCRIPTS
from vitdemo.ui.visitors import Visitors

SETTINGS = Settings(model="demo", max_queue=7)


@pytest.fixture(scope="module")
def visitors() -> Visitors:
    return Visitors(ModelStore(SETTINGS))


@pytest.fixture(scope="module")
def built(visitors):
    return page.build(SETTINGS, visitors.store, visitors)


def test_programs_may_call_one_endpoint_a_tab(built):
    public = {event.api_name: event for event in built.fns.values() if event.api_visibility == "public"}
    assert set(public) == {"classify", "attention", "embed", "finetune", "export"}
    assert all(event.concurrency_limit is None and not event.preprocess for event in public.values())  # our own queues limit them


def test_events_that_run_long_take_no_slot_and_open_no_photo(built):
    events = [event for event in built.fns.values() if event.api_visibility != "public"]
    assert {event.api_visibility for event in events} == {"private"} | {event.api_visibility for event in events if not event.fn}
    runs = Counter(event.fn.__name__ for event in events if event.fn and event.concurrency_limit is None)
    assert runs == {"respond": 8, "look": 6, "_respond": 3, "use": 1, "welcome": 1, "again": 2}
    raw = ("respond", "_respond", "send", "begin", "welcome", "again")
    assert all(not event.preprocess for event in events if event.fn and event.fn.__name__ in raw)
    assert all(event.show_progress == "hidden" for event in events if event.fn)


def test_the_open_tab_is_noted_in_the_browser(built):
    scripts = [str(event.js) for event in built.fns.values()]
    names = {json.loads(script.removeprefix("() => ")) for script in scripts if script.startswith('() => "')}
    tabs = [block.id for block in built.blocks.values() if type(block).__name__ == "Tab"]
    assert names == set(tabs) - {"one", "many"}
    assert tabs == ["classify", "one", "many", "attention", "embeddings", "finetune", "export"]


def test_gradios_queue_is_longer_than_ours(built):
    assert built._queue.max_size == 28
    assert built._queue.default_concurrency_limit == 4
    assert built._queue.sleep_when_free == 0.02


def test_every_tab_has_its_routes(visitors):
    found = page.routes(visitors)
    tabs = Counter(route.path.split("/")[2] for route in found.routes if route is not SCRIPTS)
    assert list(tabs) == ["classify", "attention", "embeddings", "finetune", "export"]
    assert found.routes[0] is SCRIPTS
    assert found._most == 2 * 28
    starting = {path.removeprefix("/page/") for path in found.starting}
    assert {"classify/start", "embeddings/start", "embeddings/add_class", "export/add", "export/start", "finetune/start"} <= starting
    assert not {"classify/stop", "classify/poll", "export/stop", "attention/classes"} & starting
