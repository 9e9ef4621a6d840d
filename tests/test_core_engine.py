"""The engine: the model's own numbers, short work first, and one piece's fault stays its own."""

import dataclasses
import threading
import time
import weakref

import pytest
import torch

from vitdemo.core.engine import Engine, choose_device
from vitdemo.core.errors import UserError


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
        answers[index] = engine.logits(vit, batches[index], long=index % 2 == 0)[0]

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(len(batches))]
    for each in asking:
        each.start()
    for each in asking:
        each.join(60)
    with torch.inference_mode():
        for index, each in enumerate(batches):
            assert torch.equal(answers[index], vit.module(each))


def test_work_runs_in_one_thread_of_its_own(engine):
    threads = {engine.run(threading.get_ident, long=long) for long in (True, False) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_short_work_overtakes_long_work_that_waits():
    engine, begun, gate, done = Engine(torch.device("cpu")), threading.Event(), threading.Event(), []

    def block() -> None:
        begun.set()
        assert gate.wait(60)
        done.append("running")

    def hand_in(work, waiting: int, long: bool) -> threading.Thread:
        thread = threading.Thread(target=engine.run, args=(work,), kwargs={"long": long})
        thread.start()
        while engine._waiting.qsize() < waiting:  # until it stands in the queue
            assert thread.is_alive()
            time.sleep(0.001)
        return thread

    callers = [hand_in(block, 0, True)]
    assert begun.wait(60)
    order = [("long 1", True), ("long 2", True), ("short 1", False), ("long 3", True), ("short 2", False)]
    for waiting, (name, long) in enumerate(order, 1):
        callers.append(hand_in(lambda name=name: done.append(name), waiting, long))
    gate.set()
    for each in callers:
        each.join(60)
    assert done == ["running", "short 1", "short 2", "long 1", "long 2", "long 3"]


@pytest.mark.parametrize("fault", [ZeroDivisionError("seven"), UserError("Say so."), SystemExit(3), KeyboardInterrupt()])
def test_a_fault_reaches_its_caller_and_the_engine_goes_on(engine, fault):
    def fail() -> None:
        raise fault

    with pytest.raises(type(fault)) as raised:
        engine.run(fail)
    assert raised.value is fault
    assert engine.run(lambda: "going on") == "going on"


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
    deadline = time.monotonic() + 20
    while any(each() is not None for each in kept) and time.monotonic() < deadline:  # the engine lets go just after it has answered
        time.sleep(0.001)
    assert [each() for each in kept] == [None, None]


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


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_needs_cuda(precision):
    with pytest.raises(UserError) as refused:
        Engine(torch.device("cpu"), precision)
    assert str(refused.value) == f"Precision {precision} needs a CUDA device, and this is cpu: leave --precision out."
