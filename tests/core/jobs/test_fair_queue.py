"""The line in which callers take turns: whose turn it is, how many are before one, and who gives way."""

import itertools
import random
from collections import Counter

import pytest

from vitdemo.core.jobs.fair_queue import FairQueue


def line_of(words: str, most: int = 100) -> FairQueue[str]:
    """Things a1, b1, a2 … of the callers a, b …"""
    line = FairQueue(most)
    for word in words.split():
        assert line.put(word, word[0]) is None
    return line


def all_of(line: FairQueue[str]) -> list[str]:
    return [line.get() for _ in range(len(line))]


@pytest.mark.parametrize(
    ("came", "taken"),
    [
        ("", ""),
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"),
    ],
)
def test_callers_take_turns(came, taken):
    line = line_of(came)
    assert [line.position(each) for each in taken.split()] == list(range(len(line)))
    assert sorted(line) == sorted(taken.split())
    assert all_of(line) == taken.split()
    assert not line


def test_whoever_comes_while_another_has_much_waits_for_one_of_it():
    line = line_of("a1 a2 a3 a4")
    assert line.get() == "a1"
    line.put("b1", "b")
    assert [line.get(), line.get()] == ["a2", "b1"]
    line.put("b2", "b")
    assert all_of(line) == ["a3", "b2", "a4"]


def test_of_a_full_line_the_last_of_the_one_with_most_gives_way():
    line = line_of("a1 a2 a3 b1", most=4)
    assert line.put("a4", "a") == "a4"  # the newcomer itself
    assert line.put("c1", "c") == "a3"
    assert line.put("c2", "c") == "c2"  # as many as a would have
    assert line.put("b2", "b") == "b2"
    assert all_of(line) == ["a1", "b1", "c1", "a2"]


def test_an_empty_line_says_so():
    line = line_of("a1")
    line.get()
    with pytest.raises(LookupError, match="no item waits"):
        line.get()
    assert line.put("a2", "a") is None
    assert all_of(line) == ["a2"]


def test_what_is_removed_waits_no_more():
    line = line_of("a1 b1 a2")
    for each in ("b1", "b1", "x"):
        line.remove(each)
    assert ("b1" in line, line.position("a2"), line.position("b1")) == (False, 1, 0)
    assert all_of(line) == ["a1", "a2"]


def test_nobody_is_passed_over_and_nothing_is_lost(subtests):
    for seed in range(20):
        with subtests.test(seed=seed):
            chance, line, waiting, numbers = random.Random(seed), FairQueue(12), [], itertools.count()
            for _ in range(500):
                deed = chance.random()
                if deed < 0.5:
                    thing = (chance.choice("aaaabc"), next(numbers))
                    gone = line.put(thing, thing[0])
                    waiting.append(thing)
                    if gone:
                        counted = Counter(client for client, _ in waiting)
                        assert counted[gone[0]] == max(counted.values())
                        waiting.remove(gone)
                elif deed < 0.9 and waiting:
                    before = {each: line.position(each) for each in waiting}
                    assert sorted(before.values()) == list(range(len(waiting)))
                    taken = line.get()
                    assert before.pop(taken) == 0
                    assert taken == min(each for each in waiting if each[0] == taken[0])  # a caller's own keep their order
                    waiting.remove(taken)
                    assert {each: line.position(each) for each in waiting} == {each: place - 1 for each, place in before.items()}
                elif waiting:
                    waiting.remove(thing := chance.choice(waiting))
                    line.remove(thing)
                assert (len(line), sorted(line)) == (len(waiting), sorted(waiting))
