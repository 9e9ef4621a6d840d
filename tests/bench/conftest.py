"""A clock that stands still, and sides without processes: what a bench makes of known seconds."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import timm
import torch

from tests.support.pictures import noise
from vitdemo.core.models.vit import Vit


def words(line: str) -> str:
    """What is printed, with one space wherever there are several."""
    return " ".join(line.split())


class Clock:
    """In place of the module `time`: only `pass_` and `sleep` move it on."""

    def __init__(self) -> None:
        self.now = 50.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = process_time = perf_counter

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    pass_ = sleep

    def taking(self, seconds: float, result: Any = None) -> Callable:
        """A function that takes so long."""

        def work(*_: Any, **__: Any) -> Any:
            self.pass_(seconds)
            return result

        return work


@pytest.fixture
def clock_of(monkeypatch):
    """clock_of(module) → the Clock that the module reads from now on."""

    def take_over(module: ModuleType) -> Clock:
        clock = Clock()
        monkeypatch.setattr(module, "time", clock)
        return clock

    return take_over


@dataclass
class Sides:
    """In place of the class Side: sides that take known seconds.

    Attributes:
        seconds: side → seconds of each of its turns.
        found: side → result of each turn.
        tasks: all sides made, as (module, side, …).
        turns: the sides in the order of their turns.
        ended: the sides in the order in which they ended.
    """

    seconds: dict[str, list[float]]
    found: dict[str, Any] = field(default_factory=dict)
    tasks: list[tuple] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def __call__(self, module: str, side: str, *task: Any) -> "_Side":
        self.tasks.append((module, side, *task))
        return _Side(self, side)


class _Side:
    def __init__(self, sides: Sides, name: str):
        self._sides, self._name, self.seconds, self.found = sides, name, [], None

    def time(self) -> float:
        self.seconds.append(self._sides.seconds[self._name][len(self.seconds)])
        self.found = self._sides.found.get(self._name)
        self._sides.turns.append(self._name)
        return self.seconds[-1]

    def end(self) -> dict:
        self._sides.ended.append(self._name)
        return {"seconds": self.seconds, "cpu_seconds": [2 * each for each in self.seconds], "peak_mb": 100.0 * len(self._name)}


@pytest.fixture(scope="session")
def network(bundle) -> torch.nn.Module:
    """The small ViT as timm makes it."""
    return timm.create_model(f"local-dir:{bundle}", pretrained=True).eval().requires_grad_(False)


@pytest.fixture
def small_network(network, monkeypatch):
    """small_network(model, precision) → a copy of the small ViT; `models.vit_of` builds its Vit from it, too."""
    from vitdemo.bench import models
    from vitdemo.core.models.precision import DTYPES

    def build(model: str, precision: str = "fp32") -> torch.nn.Module:
        return copy.deepcopy(network).to(DTYPES[precision])

    monkeypatch.setattr(models, "network_of", build)
    return build


@pytest.fixture
def small_models(monkeypatch, vit):
    """small_models(path, …) makes the loader give the small ViT, and a folder of shared weights that holds these files."""
    from vitdemo.core import config
    from vitdemo.core.models import loader

    def serve(shared, *weights: str) -> Vit:
        (shared / "weights").mkdir(parents=True, exist_ok=True)
        for name in weights:
            (shared / "weights" / f"{name}.safetensors").touch()
        monkeypatch.setattr(config, "SHARED", shared)
        monkeypatch.setattr(loader, "load", lambda *_: vit)
        return vit

    return serve


@pytest.fixture
def five(tmp_path) -> list[str]:
    """The paths of five photos, in order."""
    for number in range(5):
        noise(40, 30, number).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(5)]
