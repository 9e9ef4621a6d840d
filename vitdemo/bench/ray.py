"""Classify photos with the real ViT-Tiny by the local engine and by Ray, in turn in one run; start-up and memory are reported separately.

Ray's speed is that of the steady state: from the start of its first parts to the end of its last part. Then 1, 2 and 4 actors are
measured, the four of them on two simulated machines.
"""

import atexit
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from vitdemo.bench.sides import Side, serve

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
DRAWINGS = 2000  # pictures drawn where no photos are given
TURNS = 3  # rounds at most: a round takes minutes
ACTORS = (1, 2, 4)
MACHINE = 2  # CPUs of a simulated machine


def run(*, runs: int = TURNS, photos: Path | None = None) -> dict:
    """Print photos per second of both engines and the memory of each actor, and return all figures.

    Args:
        runs: rounds, at most TURNS.
        photos: a folder of distinct photos; by default 2,000 drawings are made first.

    Raises: UserError where weights or photos are missing.
    """
    from vitdemo.core.config import SHARED
    from vitdemo.core.errors import UserError
    from vitdemo.core.photos.search import find_items

    weights = SHARED / "weights" / f"{TINY}.safetensors"
    if not weights.is_file():
        raise UserError(f"There are no weights at {weights}: set VITDEMO_SHARED.")
    with tempfile.TemporaryDirectory() as made:
        folder = photos or _drawn(Path(made))
        count = len(find_items([folder]))
        if not count:
            raise UserError(f"There are no photos in {folder}: give --photos DIR.")
        print(f"{TINY}, {count} photos; the two engines in turn, {min(runs, TURNS)} times", flush=True)
        results = {"engines": _engines(str(folder), str(weights), count, min(runs, TURNS))}
        print("actors, with one CPU each; four of them on two simulated machines of this one", flush=True)
        results["actors"] = {actors: _side("ray", str(folder), str(weights), actors, count) for actors in ACTORS}
    return results


def _engines(folder: str, weights: str, count: int, runs: int) -> dict:
    sides = {"local": Side(__name__, "local", folder, weights, 0), "ray": Side(__name__, "ray", folder, weights, 2)}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    memory: list[dict] = []
    for number in range(runs):
        for name in sorted(sides, reverse=number % 2 == 1):  # alternating, so that no side always comes first
            sides[name].time()
            speeds[name].append(count / sides[name].found["seconds"])
            memory += sides[name].found.get("memory", [])
    starts = sides["ray"].found["start"]
    results = {name: side.end() | {"photos_per_second": speeds[name]} for name, side in sides.items()}
    shares = [ours / theirs for ours, theirs in zip(speeds["ray"], speeds["local"], strict=True)]
    for name, speed in speeds.items():
        print(f"  {name:8}{statistics.median(speed):7.1f} photos/s  ({min(speed):.1f} to {max(speed):.1f})", flush=True)
    print(
        f"  ray is {statistics.median(shares):.2f} × local ({min(shares):.2f} to {max(shares):.2f}); {starts:.1f} s of start-up apart",
        flush=True,
    )
    _print_memory(memory)
    return results | {"shares": shares, "start": starts, "memory": memory}


def _side(*task) -> dict:
    """Start a side, run it once, and return its figures."""
    *_, actors, count = task
    side = Side(__name__, *task[:-1])
    side.time()
    figures = dict(side.found)
    side.end()
    print(f"  {actors} actors {count / figures['seconds']:7.1f} photos/s  {figures['start']:.1f} s of start-up", flush=True)
    _print_memory(figures["memory"])
    return figures | {"photos_per_second": count / figures["seconds"]}


def _print_memory(memory: list[dict]) -> None:
    for actor in memory:
        half, last, most = (actor[name] for name in ("half", "last", "most"))
        print(f"    an actor of {actor['parts']} parts: {half:.0f} MB half way, {last:.0f} MB at last, {most:.0f} MB at most", flush=True)


def _drawn(folder: Path) -> Path:
    from vitdemo.sketches import draw

    print(f"drawing {DRAWINGS} pictures", flush=True)
    for _ in draw.write(DRAWINGS, 5, folder):
        pass
    return folder / "images"


def _serve(side: str, *task) -> None:
    """Run one side in its own process."""
    work = {"local": _local, "ray": _ray}[side](*task)
    serve(lambda: work(True), lambda: work(False))


def _vit(weights: str):
    import torch

    from vitdemo.core.config import Settings
    from vitdemo.core.models import loader

    return loader.load(TINY, Settings(model=TINY, checkpoint=Path(weights)), torch.device("cpu"), lambda _: None)


def _local(folder: str, weights: str, _: int):
    from vitdemo.classify.files import as_table
    from vitdemo.classify.gallery import classify_gallery
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.memory import give_back_freed_memory
    from vitdemo.core.photos.search import find_items

    give_back_freed_memory()
    vit = _vit(weights)
    engine, items = Engine(vit.device), find_items([folder])

    def work(warm: bool) -> dict:
        begin = time.perf_counter()
        as_table(list(classify_gallery(items[:32] if warm else items, vit, engine, Settings())), vit.name)
        return {"seconds": time.perf_counter() - begin}

    return work


def _ray(folder: str, weights: str, actors: int):
    from vitdemo.core.bulk.ray_session import ray_session

    machines = max(1, actors // MACHINE)
    session = ray_session("bench ray", cpus=max(MACHINE, actors // machines)) if machines == 1 else _machines(machines)
    session.__enter__()
    atexit.register(session.__exit__, None, None, None)
    vit = _vit(weights)

    return lambda warm: {} if warm else _bulk(folder, vit, actors)


def _machines(count: int):
    """Return a context in which Ray simulates `count` machines."""
    from contextlib import contextmanager

    @contextmanager
    def cluster():
        import ray
        from ray.cluster_utils import Cluster

        from vitdemo.core.bulk.ray_session import OBJECTS

        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
        machines = Cluster(
            initialize_head=True, head_node_args={"num_cpus": MACHINE, "include_dashboard": False, "object_store_memory": OBJECTS}
        )
        for _ in range(count - 1):
            machines.add_node(num_cpus=MACHINE, object_store_memory=OBJECTS)
        ray.init(machines.address, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()
        machines.shutdown()

    return cluster()


def _bulk(folder: str, vit, actors: int) -> dict:
    from vitdemo.classify.ray import Classifying
    from vitdemo.core.bulk import ray_data
    from vitdemo.core.bulk.parquet import ParquetDataset
    from vitdemo.core.bulk.stages import check_stages, stages_for
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.search import find_items

    begin, first = time.perf_counter(), 0.0
    memory: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as output:
        parts = ParquetDataset(output)
        parts.begin({})
        stages = stages_for(*ray_data.free_resources(), check_stages(f"model.actors={actors}"))
        for step in ray_data.run(Classifying(5), find_items([folder]), vit, Settings(device="cpu"), parts, stages):
            first = first or time.perf_counter() - step.seconds
            memory.setdefault(step.actor, []).append(step.memory_mb)
    actors_memory = [{"parts": len(used), "half": used[len(used) // 2], "last": used[-1], "most": max(used)} for used in memory.values()]
    return {"seconds": time.perf_counter() - first, "start": first - begin, "memory": actors_memory}


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
