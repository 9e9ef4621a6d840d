"""Whose turn it is, and what the page shows."""

from vitdemo.ui.sessions.latest_request import LatestRequest


def test_a_newer_request_takes_the_turn():
    turns = LatestRequest()
    first = turns.begin("a")
    assert first()
    second, other = turns.begin("a"), turns.begin("b")
    assert (first(), second(), other()) == (False, True, True)
    turns.leave("a")
    assert not second()


def test_what_is_shown_counts_until_something_else_is_asked():
    turns = LatestRequest()
    assert not turns.shows("a", "photo")
    turns.begin("a")
    turns.answered("a", "photo", turns.generation)
    assert turns.shows("a", "photo")
    assert not turns.shows("a", "other")
    assert not turns.shows("b", "photo")
    turns.begin("a")  # another photo is on its way: the first one, asked again, is no longer what will be shown
    assert not turns.shows("a", "photo")
    turns.answered("a", "photo", turns.generation)
    turns.leave("a")
    assert not turns.shows("a", "photo")
