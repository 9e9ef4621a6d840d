"""How many actors each stage of bulk work has, and how many CPUs and GPUs of a cluster each actor takes.

Bulk work has two stages: `decode` reads, decodes and crops photos; `model` runs the model and writes the results. Without GPUs there is one
model actor per CPU, which also decodes. With GPUs there is one model actor per GPU, and decode actors run on the remaining CPUs.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from vitdemo.core.errors import UsageError, UserError

BOOKED = 0.9  # CPUs per actor: with one actor per CPU, a little of each CPU stays free for Ray's own tasks
_SETTING = re.compile(r"(decode(?=\.[ac])|model)\.(actors|cpus|gpus)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ActorPool:
    """A stage's number of actors, and the CPUs and GPUs that each actor takes; no actors where another stage does this stage's work."""

    actors: int
    cpus: float = BOOKED
    gpus: float = 0

    def __str__(self) -> str:
        gpus = f" and {_count(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{_count(self.actors, 'actor')} with {_count(self.cpus, 'CPU')}{gpus}{' each' if self.actors != 1 else ''}"


@dataclass(frozen=True)
class Pipeline:
    """The actors of both stages of bulk work."""

    decode: ActorPool
    model: ActorPool

    def __str__(self) -> str:
        return f"model: {self.model}" + (f"; decode: {self.decode}" if self.decode.actors else ", which decode for themselves")


def check_stages(asked: str) -> dict[str, dict[str, float]]:
    """Parse the value of `--stages`, such as `model.actors=4,decode.cpus=2`: stage → name → value. Raises: UsageError for a wrong value."""
    settings: dict[str, dict[str, float]] = {"decode": {}, "model": {}}
    for setting in filter(None, asked.split(",")):
        if not (match := _SETTING.fullmatch(setting.strip())):
            raise UsageError(f"--stages has “{setting}”: give such as model.actors=4,model.cpus=1,model.gpus=1,decode.actors=8.")
        stage, name, value = match.groups()
        settings[stage][name] = float(value)
        if name == "actors" and not float(value).is_integer():
            raise UsageError(f"--stages has “{setting}”: actors are a whole number.")
        if (stage, name) in (("model", "actors"), ("model", "cpus"), ("decode", "cpus")) and not float(value):
            raise UsageError(f"--stages has “{setting}”: that must be more than 0.")
    return settings


def stages_for(cpus: float, gpus: float, asked: dict[str, dict[str, float]]) -> Pipeline:
    """Choose the actors for a cluster with this many free CPUs and GPUs; what `asked` doesn't set gets a default.

    The actors together take less than all CPUs, because a cluster whose CPUs are all taken can do nothing else.

    Args:
        asked: what `check_stages` returned.

    Raises: UserError where `asked` takes more than the cluster has.
    """
    model_values: dict[str, Any] = {"actors": 0, "gpus": 1 if gpus else 0} | asked["model"]
    decode_values: dict[str, Any] = {"actors": 0} | asked["decode"]
    model, decode = ActorPool(**model_values), ActorPool(**decode_values)
    if "actors" not in asked["model"]:
        most = gpus // model.gpus if model.gpus else _max_actors(cpus, model.cpus)
        model = replace(model, actors=int(max(1, most)))
    if model.gpus and "actors" not in asked["decode"]:
        decode = replace(decode, actors=_max_actors(cpus - model.actors * model.cpus, decode.cpus))
    model, decode = replace(model, actors=int(model.actors)), replace(decode, actors=int(decode.actors))
    taken = sum(pool.actors * pool.cpus for pool in (model, decode))
    if taken >= cpus:
        raise UserError(f"--stages takes {taken:g} CPUs, and the cluster has {cpus:g}, one of which stays free: ask for fewer actors.")
    if model.actors * model.gpus > gpus:
        raise UserError(f"--stages takes {model.actors * model.gpus:g} GPUs, and the cluster has {gpus:g}: ask for fewer actors.")
    return Pipeline(decode, model)


def _max_actors(cpus: float, per_actor: float) -> int:
    """Return the largest number of actors that take less than `cpus` in total, at most one per CPU."""
    return max(0, min(math.ceil(cpus / per_actor) - 1, int(cpus / max(per_actor, 1))))


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
