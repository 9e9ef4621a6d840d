"""Processes that train together: which one writes to the run's folder, and what the others leave behind."""

import pytest

from vitdemo.core.training import distributed
from vitdemo.core.training.distributed import process_group


@pytest.fixture
def group(monkeypatch):
    """A stand-in for the group: `rank` is this process's, `log` what the group is asked."""

    class Group:
        rank, initialised = 0, False

        def __init__(self) -> None:
            self.log = []

        def is_initialized(self) -> bool:
            return self.initialised

        def init_process_group(self, kind: str) -> None:
            self.log.append(kind)

        def get_rank(self) -> int:
            return self.rank

        def barrier(self) -> None:
            self.log.append("barrier")

        def destroy_process_group(self) -> None:
            self.log.append("destroy")

    group = Group()
    monkeypatch.setattr(distributed, "group", group)
    monkeypatch.setattr(distributed.torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    return group


@pytest.fixture
def folder(tmp_path):
    """A run to go on with."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state").write_text("epoch 3")
    return tmp_path


@pytest.mark.parametrize("size", ["1", None])
def test_a_process_alone_joins_nobody(group, folder, size, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", size) if size else monkeypatch.delenv("WORLD_SIZE")
    with process_group(folder) as (place, rank):
        assert (place, rank) == (folder, None)
    assert group.log == []


def test_the_first_writes_to_the_folder(group, folder):
    with process_group(folder) as (place, rank):
        assert (place, rank) == (folder, 0)
        assert group.log == ["gloo", "barrier"]
    assert group.log == ["gloo", "barrier", "destroy"]
    assert (folder / "run" / "state").read_text() == "epoch 3"


def test_the_others_go_on_from_a_copy_that_goes(group, folder):
    group.rank = 1
    with process_group(folder) as (place, rank):
        assert rank == 1
        assert place != folder
        assert (place / "run" / "state").read_text() == "epoch 3"
        (place / "run" / "state").write_text("epoch 4")
    assert not place.exists()
    assert (folder / "run" / "state").read_text() == "epoch 3"


def test_nothing_is_left_after_an_error(group, tmp_path):
    group.rank = 2
    places = []

    def fail() -> None:
        with process_group(tmp_path) as (place, _):
            places.append((place, list(place.iterdir())))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    ((place, content),) = places
    assert content == []  # there is no run yet
    assert not place.exists()
    assert group.log[-1] == "destroy"


def test_a_group_that_is_there_already_is_not_ours_to_end(group, folder):
    group.initialised = True
    with process_group(folder) as (place, rank):
        assert (place, rank) == (folder, 0)
    assert group.log == ["barrier"]


def test_with_gpus_each_process_takes_its_own(group, folder, monkeypatch):
    taken = []
    monkeypatch.setattr(distributed.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed.torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with process_group(folder):
        pass
    assert (taken, group.log[0]) == ([3], "nccl")
