"""How many actors each stage of bulk work has, and what each of them takes of a cluster.

Bulk work has two stages: `decode` reads, decodes and crops photos, `model` answers them and writes. Without a GPU the model's actors decode
for themselves, one on each CPU; with GPUs there is one of them for each, and the CPUs decode.
"""

import math
import re
from dataclasses import dataclass, replace

from vitdemo.core.errors import UsageError, UserError

BOOKED = 0.9  # of a CPU: as many actors as there are CPUs, and a little of each stays free for Ray's own tasks
_SETTING = re.compile(r"(decode(?=\.[ac])|model)\.(actors|cpus|gpus)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ActorPool:
    """So many actors, each of which takes so many CPUs and GPUs; no actors where another stage does this one's work."""

    actors: int
    cpus: float = BOOKED
    gpus: float = 0

    def __str__(self) -> str:
        gpus = f" and {_count(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{_count(self.actors, 'actor')} with {_count(self.cpus, 'CPU')}{gpus}{' each' if self.actors != 1 else ''}"


@dataclass(frozen=True)
class Pipeline:
    """All of bulk work."""

    decode: ActorPool
    model: ActorPool

    def __str__(self) -> str:
        return f"model: {self.model}" + (f"; decode: {self.decode}" if self.decode.actors else ", which decode for themselves")


def check_stages(asked: str) -> dict[str, dict[str, float]]:
    """What `model.actors=4,model.gpus=1,decode.cpus=2` sets, by stage. Raises: UsageError where it sets nothing of that kind."""
    found: dict[str, dict[str, float]] = {"decode": {}, "model": {}}
    for each in filter(None, asked.split(",")):
        if not (match := _SETTING.fullmatch(each.strip())):
            raise UsageError(f"--stages has “{each}”: give such as model.actors=4,model.cpus=1,model.gpus=1,decode.actors=8.")
        stage, name, value = match.groups()
        found[stage][name] = float(value)
        if name == "actors" and not float(value).is_integer():
            raise UsageError(f"--stages has “{each}”: actors are a whole number.")
        if (stage, name) in (("model", "actors"), ("model", "cpus"), ("decode", "cpus")) and not float(value):
            raise UsageError(f"--stages has “{each}”: that must be more than 0.")
    return found


def stages_for(cpus: float, gpus: float, asked: dict[str, dict[str, float]]) -> Pipeline:
    """What a cluster of so many free CPUs and GPUs is to do, as asked and else by default.

    Together the actors take less than all CPUs, as a cluster all of whose CPUs are held does nothing else.

    Raises: UserError for more than there is.
    """
    model = ActorPool(**({"actors": 0, "gpus": 1 if gpus else 0} | asked["model"]))
    decode = ActorPool(**({"actors": 0} | asked["decode"]))
    if "actors" not in asked["model"]:
        most = gpus // model.gpus if model.gpus else _most(cpus, model.cpus)
        model = replace(model, actors=int(max(1, most)))
    if model.gpus and "actors" not in asked["decode"]:
        decode = replace(decode, actors=_most(cpus - model.actors * model.cpus, decode.cpus))
    model, decode = replace(model, actors=int(model.actors)), replace(decode, actors=int(decode.actors))
    taken = sum(each.actors * each.cpus for each in (model, decode))
    if taken >= cpus:
        raise UserError(f"--stages takes {taken:g} CPUs, and the cluster has {cpus:g}, one of which stays free: ask for fewer actors.")
    if model.actors * model.gpus > gpus:
        raise UserError(f"--stages takes {model.actors * model.gpus:g} GPUs, and the cluster has {gpus:g}: ask for fewer actors.")
    return Pipeline(decode, model)


def _most(cpus: float, each: float) -> int:
    """How many actors take less than so many CPUs, and are no more than they."""
    return max(0, min(math.ceil(cpus / each) - 1, int(cpus / max(each, 1))))


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
