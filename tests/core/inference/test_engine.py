"""The engine: the model's own numbers, short work first, and one piece's fault stays its own."""

import dataclasses
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch

from tests.support.waiting import until
from vitdemo.core.errors import UserError
from vitdemo.core.inference import engine as engines
from vitdemo.core.inference.engine import Engine, choose_device


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_logits_are_the_models(engine, vit, batch):
    logits, seconds = engine.logits(vit, batch)
    with torch.inference_mode():
        assert torch.equal(logits, vit.module(batch))
    assert (logits.dtype, logits.device.type, logits.requires_grad) == (torch.float32, "cpu", False)
    assert 0 < seconds < 60


def test_many_callers_each_get_their_own(engine, vit):
    batches = [torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(seed)) for seed in range(12)]
    answers: dict[int, torch.Tensor] = {}

    def ask(index: int) -> None:
        answers[index] = engine.logits(vit, batches[index])[0]

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(len(batches))]
    for each in asking:
        each.start()
    for each in asking:
        each.join(60)
    with torch.inference_mode():
        for index, each in enumerate(batches):
            assert torch.allclose(answers[index], vit.module(each), atol=1e-5)  # those that waited together went through together


def test_short_work_runs_in_one_thread_with_all_cores(engine):
    cores = torch.get_num_threads()
    assert {engine.run(lambda: (threading.current_thread().name, torch.get_num_threads())) for _ in range(5)} == {("engine", cores)}


def test_lanes_share_the_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        engine = Engine(torch.device("cpu"))
        met = threading.Barrier(4)

        def piece(_) -> tuple[str, int]:
            met.wait(60)  # passes only if four run at a time
            return threading.current_thread().name, torch.get_num_threads()

        assert sorted(engine.map(piece, range(4))) == [(f"engine lane {lane}", 1) for lane in range(1, 5)]
        assert engine.run(torch.get_num_threads) == 4
    finally:
        torch.set_num_threads(before)


def test_map_keeps_the_order_and_asks_for_no_more_than_it_needs(engine):
    asked = []

    def pieces():
        for number in range(20):
            asked.append(number)
            yield number

    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 == 0 else 0)  # so that the second of two is done first
        return number * number

    results = engine.map(work, pieces())
    assert next(results) == 0
    assert len(asked) == engine.lanes + 1
    assert list(results) == [number * number for number in range(1, 20)]


def test_a_closed_map_runs_nothing_more(engine):
    done = []
    results = engine.map(done.append, range(1000))
    next(results)
    results.close()
    engine.run(lambda: None)  # waits for the pieces that had begun
    count = len(done)
    assert count <= 2 * engine.lanes + 2
    time.sleep(0.05)  # nothing is to come
    assert len(done) == count


def test_a_fault_in_one_piece_ends_its_map_alone(engine):
    def work(number: int) -> float:
        return 1 / (3 - number)

    results = engine.map(work, range(10))
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(engine.map(work, [0, 1])) == [1 / 3, 1 / 2]


def test_short_work_overtakes_long_work_that_waits():
    engine, begun, gate, done = Engine(torch.device("cpu")), threading.Semaphore(0), threading.Event(), []

    def piece(number: int) -> None:
        begun.release()
        assert gate.wait(60)
        done.append(number)

    gallery = threading.Thread(target=lambda: list(engine.map(piece, range(5 * engine.lanes))))
    gallery.start()
    for _ in range(engine.lanes):
        assert begun.acquire(timeout=60)
    visitor = threading.Thread(target=engine.run, args=(lambda: done.append("short"),))
    visitor.start()
    until(lambda: engine._gate._short)
    gate.set()
    visitor.join(60)
    gallery.join(60)
    assert sorted(done[: engine.lanes]) == list(range(engine.lanes))  # what had begun was finished
    assert done[engine.lanes] == "short"
    assert sorted(done[engine.lanes + 1 :]) == list(range(engine.lanes, 5 * engine.lanes))


def test_long_work_holds_back_while_short_work_is_coming_but_not_for_ever(engine, monkeypatch):
    monkeypatch.setattr("vitdemo.core.inference.work_queue.MAX_HOLD_SECONDS", 60)
    monkeypatch.setattr("vitdemo.core.inference.work_queue.SHORT_FIRST_FACTOR", 1e9)
    done = []
    gallery = threading.Thread(target=lambda: list(engine.map(done.append, range(3))))
    with engine.expecting():
        gallery.start()
        engine.run(lambda: done.append("short"))
        assert done == ["short"]
    gallery.join(60)
    assert sorted(map(str, done)) == ["0", "1", "2", "short"]
    monkeypatch.setattr("vitdemo.core.inference.work_queue.MAX_HOLD_SECONDS", 0.01)
    with engine.expecting():
        assert list(engine.map(lambda number: number, range(3))) == [0, 1, 2]


@pytest.mark.parametrize("preparing", [0, 0.05])
def test_long_work_has_its_share_where_short_work_never_ends(preparing, monkeypatch):
    """Whether it waits for the model or is still being prepared; and between two turns of long work there is short work."""
    monkeypatch.setattr("vitdemo.core.inference.work_queue.MAX_HOLD_SECONDS", 60)
    engine, begun, over = Engine(torch.device("cpu")), [], threading.Event()

    def work(kind: str, seconds: float) -> None:
        begun.append(kind)
        time.sleep(seconds)  # work of a known length

    def hurry() -> None:
        while not over.is_set():
            with engine.expecting():
                time.sleep(preparing)  # a photo being prepared
                engine.run(lambda: work("short", 0.005))

    visitors = [threading.Thread(target=hurry, daemon=True) for _ in range(4)]
    for each in visitors:
        each.start()
    until(lambda: len(begun) >= 20)
    gallery = threading.Thread(target=lambda: list(engine.map(lambda _: work("long", 0.02), range(6 * engine.lanes))), daemon=True)
    gallery.start()
    gallery.join(40)
    over.set()
    assert not gallery.is_alive()
    assert begun.count("long") == 6 * engine.lanes
    turns = "".join(each[0] for each in begun).strip("s").split("s")
    assert max(map(len, turns)) <= engine.lanes
    for each in visitors:
        each.join(60)


def test_a_batch_too_large_for_the_device_is_taken_in_halves(engine, vit, batch):
    """A stand-in for a device with room for two photos: what it raises is torch's own class."""
    sizes = []

    def network(images: torch.Tensor) -> tuple[torch.Tensor]:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("no more")
        return (vit.logits(images),)

    (logits,), _ = engine.forward(network, batch)
    assert sizes == [4, 2, 2]
    with torch.inference_mode():
        assert torch.allclose(logits, vit.module(batch), atol=1e-5)


@pytest.mark.parametrize("fault", [ZeroDivisionError("seven"), UserError("Say so."), SystemExit(3), KeyboardInterrupt()])
def test_a_fault_reaches_its_caller_and_the_engine_goes_on(engine, fault):
    def fail() -> None:
        raise fault

    with pytest.raises(type(fault)) as raised:
        engine.run(fail)
    assert raised.value is fault
    assert engine.run(lambda: "going on") == "going on"


def test_an_observer_that_fails_stops_nothing(caplog):
    def observe(kind: str, waited: float, ran: float) -> None:
        raise ZeroDivisionError(kind)

    engine = Engine(torch.device("cpu"), observe=observe)
    assert [engine.run(lambda: "short") for _ in range(3)] == ["short"] * 3
    assert list(engine.map(str, range(3 * engine.lanes))) == [str(number) for number in range(3 * engine.lanes)]
    assert {str(record.exc_info[1]) for record in caplog.records} == {"short", "long"}


def test_a_batch_that_does_not_fit_the_model(engine, vit, batch):
    with pytest.raises(RuntimeError):
        engine.logits(vit, batch[:, :2])
    assert engine.logits(vit, batch)[0].shape == (4, 8)


def test_too_little_memory_is_said_so(engine):
    """Real: four petabytes."""
    with pytest.raises(UserError, match="ran out of memory: choose a smaller model or image size"):
        engine.run(lambda: torch.empty(10**15))
    assert engine.run(lambda: "going on") == "going on"


def test_nothing_is_kept_once_it_is_handed_over(engine, vit, batch):
    result = engine.logits(vit, batch)[0]
    work = dataclasses.make_dataclass("Work", [], namespace={"__call__": lambda self: None})()
    engine.run(work)
    kept = [weakref.ref(result), weakref.ref(work)]
    del result, work
    until(lambda: [each() for each in kept] == [None, None])  # the engine lets go just after it has answered


def test_batches_get_smaller_where_memory_is_short(engine, vit, monkeypatch):
    assert engine.batch_size(vit) == 8
    photo = 4 * 196 * 48 * 24  # bytes: 196 tokens, 48 wide, 24 of them alive
    for room, size in ((100, 8), (5, 5), (0.2, 1)):
        monkeypatch.setattr(engines, "free_memory", lambda device, room=room: 4 * engine.lanes * room * photo + 1)
        assert engine.batch_size(vit) == size


def test_a_batch_size_that_is_asked_for_is_shared_out_among_the_lanes(engine, vit, monkeypatch):
    monkeypatch.setattr(engine, "lanes", 3)
    assert [engine.batch_size(vit, asked) for asked in (1, 3, 4, 32)] == [1, 1, 2, 11]


def test_devices_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected


def test_a_device_that_is_not_there():
    count = torch.cuda.device_count()
    with pytest.raises(UserError) as refused:
        choose_device("cuda:99")
    assert str(refused.value) == (f"torch sees {count} CUDA devices, so there is no cuda:99: choose --device cpu, or install a CUDA torch.")
    if not count:
        with pytest.raises(UserError, match="so there is no cuda:"):
            choose_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="There is no MPS device on this machine: choose --device cpu"):
            choose_device("mps")


def test_a_program_ends_with_its_own_status_in_the_middle_of_a_pass():
    program = """
import sys, threading, time, torch
from vitdemo.core.inference.engine import Engine

engine, begun, matrix = Engine(torch.device("cpu")), threading.Event(), torch.ones(1500, 1500)

def work():
    begun.set()
    for _ in range(20):
        matrix @ matrix

threading.Thread(target=engine.run, args=(work,), daemon=True).start()
begun.wait()
sys.exit(130)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
