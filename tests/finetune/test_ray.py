"""`finetune --engine ray` without Ray Train: what the job is asked, what its processes run, and what is printed of them."""

import argparse
import contextlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from vitdemo.core.errors import UsageError, UserError
from vitdemo.finetune import local, ray


class Remote:
    """Ray's way to call a method of an actor, done at once."""

    def __init__(self, method):
        self.remote = lambda *arguments: method(*arguments)


class Actor:
    """An actor's methods, each as a Remote."""

    def __init__(self, thing):
        for name in ("add", "take"):
            setattr(self, name, Remote(getattr(thing, name)))


@pytest.fixture
def train(monkeypatch):
    """Ray Train: `jobs` has what was asked for, `fault` is raised by a job, `resources` is what the cluster has."""
    train = SimpleNamespace(jobs=[], fault=None, resources={"CPU": 8.0}, sessions=[])

    class TorchTrainer:
        def __init__(self, process, **options):
            train.jobs.append((process, options))

        def fit(self) -> None:
            _, options = train.jobs[-1]
            options["train_loop_config"]["lines"].add.remote("a line of the job")
            if train.fault:
                raise train.fault

    @contextlib.contextmanager
    def session(name: str, address: str | None):
        train.sessions.append((name, address))
        yield

    root, package, torch = ModuleType("ray"), ModuleType("ray.train"), ModuleType("ray.train.torch")
    root.cluster_resources, root.get = lambda: train.resources, lambda value: value
    root.remote = lambda **_: lambda kind: SimpleNamespace(remote=lambda: Actor(kind()))
    package.RunConfig = package.ScalingConfig = torch.TorchConfig = lambda **options: options
    torch.TorchTrainer = TorchTrainer
    for module in (root, package, torch):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(ray, "ray_session", session)
    monkeypatch.setattr(ray, "LISTEN", 0.01)
    return train


def flags(**more) -> argparse.Namespace:
    return argparse.Namespace(**{"processes": None, "address": "auto", "folder": Path("photos"), "run": print, "model": "m"} | more)


@pytest.mark.parametrize(
    ("resources", "asked", "processes", "gpu", "cpus"),
    [
        ({"CPU": 8.0}, None, 4, False, 1),
        ({"CPU": 1.0}, None, 1, False, 0.5),
        ({}, None, 1, False, 0.5),
        ({"CPU": 8.0}, 16, 16, False, 0.25),
        ({"CPU": 8.0, "GPU": 2.0}, None, 2, True, 1),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 1, True, 1),
    ],
)
def test_processes_share_what_the_cluster_has(resources, asked, processes, gpu, cpus, train, capsys):
    train.resources = resources
    assert ray.run(flags(processes=asked)) == 0
    ((process, options),) = train.jobs
    assert process is ray._process
    assert options["scaling_config"] == {"num_workers": processes, "use_gpu": gpu, "resources_per_worker": {"CPU": cpus}}
    assert options["torch_config"] == {"backend": "nccl" if gpu else "gloo"}
    assert not Path(options["run_config"]["storage_path"]).exists()  # it was the job's alone
    assert train.sessions == [("--engine ray", "auto")]
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"Ray Train: {processes} processes, with {'a GPU' if gpu else 'CPUs'} each"
    assert second == "a line of the job"


def test_a_job_that_fails_is_said_with_its_last_message(train, capsys):
    train.fault = RuntimeError("Traceback\nvitdemo.core.errors.UserError: There are no photos.\n")
    with pytest.raises(
        UserError, match=r"^The job has ended: There are no photos\. The same command goes on after the last epoch there is\.$"
    ):
        ray.run(flags())
    assert "a line of the job" in capsys.readouterr().err  # what it said is printed all the same


@pytest.mark.parametrize("processes", [0, -1])
def test_no_process_is_refused(processes, train):
    with pytest.raises(UsageError, match="--processes must be 1 or more"):
        ray.run(flags(processes=processes))
    assert train.sessions == []


def test_without_ray_train(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train", None)
    with pytest.raises(UserError, match="needs Ray Train, which is not installed"):
        ray.run(flags())


def test_flags_for_a_process_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = flags(output=Path("/out"), checkpoint=None, model="local-dir:models/mine", preset="quick")
    assert ray._portable(given) == {
        "processes": None,
        "address": "auto",
        "folder": tmp_path / "photos",
        "output": Path("/out"),
        "checkpoint": None,
        "model": f"local-dir:{tmp_path / 'models' / 'mine'}",
        "preset": "quick",
    }
    assert ray._portable(flags(model=None))["model"] is None
    assert ray._portable(flags(model="vit_tiny"))["model"] == "vit_tiny"


def test_a_process_runs_the_command_and_passes_on_its_lines(monkeypatch, capsys):
    buffer, asked = ray._LineBuffer(), []

    def learn(given: argparse.Namespace) -> int:
        asked.append(given)
        print("first\nsecond", file=sys.stderr, end="")
        print(" goes on", file=sys.stderr)
        print("unfinished", file=sys.stderr, end="")
        return 0

    monkeypatch.setattr(local, "learn", learn)
    ray._process({"flags": {"model": "m"}, "lines": Actor(buffer)})
    assert asked == [argparse.Namespace(model="m")]
    assert buffer.take() == ["first", "second goes on"]
    assert buffer.take() == []
    assert capsys.readouterr().err == ""
