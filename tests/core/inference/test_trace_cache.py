"""The cache of traces: the right one for each question, each made once, and never more bytes than allowed."""

import dataclasses
import gc
import threading

import pytest
import torch

from tests.support.pictures import noise
from tests.support.small_vits import small_vit
from vitdemo.core.errors import UserError
from vitdemo.core.inference import trace_cache
from vitdemo.core.inference.trace_cache import TraceCache
from vitdemo.core.photos.photo import Photo


@pytest.fixture(scope="module")
def small():
    vit = small_vit()
    return dataclasses.replace(vit, preprocessing=sized(vit, 64))


def photo(number: int) -> Photo:
    return Photo(f"id {number}", f"{number}.png", noise(64, 64, number))


def sized(vit, size: int):
    return dataclasses.replace(vit.preprocessing, size=(size, size))


@pytest.fixture
def made(monkeypatch) -> list:
    """What was traced."""
    calls, plain = [], trace_cache.run_trace
    monkeypatch.setattr(trace_cache, "run_trace", lambda *arguments: calls.append(arguments) or plain(*arguments))
    return calls


def test_the_same_question_has_the_same_trace(small, engine, made):
    cache = TraceCache(64)
    first = cache.get(photo(1), small, engine)
    assert cache.get(photo(1), small, engine) is first
    assert cache.get(photo(1), small, engine, small.preprocessing) is first
    assert len(made) == 1
    assert torch.equal(first.logits, engine.logits(small, small.preprocessing(photo(1).image)[None])[0][0])
    assert cache.bytes == first.bytes


def test_another_photo_model_or_preprocessing_is_another_question(small, engine, made):
    cache, twin = TraceCache(64), dataclasses.replace(small)  # a model of the same name
    asked = [(photo(1), small), (photo(2), small), (photo(1), twin), (photo(1), small, sized(small, 96))]
    found = [cache.get(*each[:2], engine, *each[2:]) for each in asked]
    assert len({id(each) for each in found}) == len(made) == 4
    assert found[3].grid == (6, 6)
    assert [cache.get(*each[:2], engine, *each[2:]) for each in asked] == found


def test_bytes_are_bounded_and_the_longest_unused_goes(small, engine, made):
    cache, big = TraceCache(4), sized(small, 224)  # 1.5 MB each: 197² · 9 · 4 and tokens
    first, second = (cache.get(photo(number), small, engine, big) for number in (1, 2))
    assert cache.bytes == first.bytes + second.bytes > 2_900_000
    assert cache.get(photo(1), small, engine, big) is first
    cache.get(photo(3), small, engine, big)
    assert cache.bytes <= 4_000_000
    assert cache.get(photo(1), small, engine, big) is first
    assert len(made) == 3
    assert cache.get(photo(2), small, engine, big) is not second


def test_a_trace_that_would_never_fit_is_refused(small, engine, made):
    with pytest.raises(UserError, match="choose a smaller image size or model, or start with --trace-cache-mb 2"):
        TraceCache(1).get(photo(1), small, engine, sized(small, 224))
    assert made == []


def test_many_ask_and_it_is_made_once(small, engine, made):
    cache, found = TraceCache(64), []
    threads = [threading.Thread(target=lambda: found.append(cache.get(photo(1), small, engine))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(found) == 8
    assert len({id(each) for each in found}) == len(made) == 1


def test_a_fault_is_not_kept(small, engine, monkeypatch):
    cache = TraceCache(64)
    with monkeypatch.context() as patch:
        patch.setattr(trace_cache, "run_trace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.get(photo(1), small, engine)
    assert cache.get(photo(1), small, engine).grid == (4, 4)


def test_traces_do_not_keep_a_model_alive_and_go_with_it(small, engine):
    cache, passing = TraceCache(64), small_vit(seed=1)
    cache.get(photo(1), passing, engine)
    del passing
    engine.run(lambda: None)  # the engine lets go of its last work
    gc.collect()
    assert cache.get(photo(2), small, engine).bytes == cache.bytes
