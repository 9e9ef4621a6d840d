"""The process that draws maps: right for every size, the same for the same seed, stopped at once, and never two fits at a time."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions
from vitdemo.embeddings.maps.mapper import Mapper
from vitdemo.embeddings.maps.scores import LayerScore, score_layer
from vitdemo.embeddings.progress import WorkProgress


def grouped(rows: int = 150, groups: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in groups, (rows, 24) float32, and which group each is of."""
    random = np.random.default_rng(seed)
    group = np.arange(rows) % groups
    return (4 * random.normal(size=(groups, 24))[group] + random.normal(size=(rows, 24))).astype(np.float32), group


def last(steps):
    *_, result = steps
    return result


@pytest.fixture
def own(cache_dir):
    """A mapper whose child may be killed: mapper(**settings)."""
    made = []

    def make(**settings) -> Mapper:
        made.append(Mapper(Settings(cache_dir=cache_dir, **settings)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 20])
def test_any_number_of_photos(mapper, rows, dimensions):
    vectors, _ = grouped(rows)
    found = last(mapper.map(vectors, MapOptions(dimensions)))
    assert found.positions.shape == (rows, dimensions)
    assert np.isfinite(found.positions).all()
    assert len(np.unique(found.positions, axis=0)) == rows
    assert found.clusters.shape == found.membership.shape == (rows,)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation"])
def test_groups_become_clusters(mapper, metric):
    vectors, group = grouped()
    found = last(mapper.map(vectors, MapOptions(metric=metric)))
    named = found.clusters >= 0
    assert named.mean() > 0.9
    assert all(len(set(group[found.clusters == cluster])) == 1 for cluster in range(found.clusters.max() + 1))
    assert found.trust > 0.8


def test_steps_are_told(mapper):
    vectors, _ = grouped(400)
    *steps, found = mapper.map(vectors, MapOptions())
    assert isinstance(found, Atlas)
    assert all(isinstance(step, WorkProgress) for step in steps)
    phases = [step.phase for step in steps if step.phase not in ("waiting", "starting")]
    assert list(dict.fromkeys(phases)) == ["neighbours", "map", "clusters"]
    epochs = [step.done for step in steps if step.phase == "map"]
    assert epochs == sorted(epochs)


def test_the_same_seed_draws_the_same_map(mapper):
    vectors, _ = grouped()
    first, again, other = (last(mapper.map(vectors, MapOptions(seed=seed))).positions for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_equal_rows_share_a_place(mapper):
    vectors, _ = grouped()
    vectors[100:120] = vectors[3]
    positions = last(mapper.map(vectors, MapOptions())).positions
    assert np.array_equal(positions[100:120], np.tile(positions[3], (20, 1)))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_thirty_equal_photos_among_others_are_a_cluster(mapper, dimensions):
    vectors = np.random.default_rng(0).normal(size=(7, 24)).astype(np.float32)
    found = last(mapper.map(vectors[[0] * 30 + [1, 2, 3, 4, 5, 6]], MapOptions(dimensions)))
    assert found.clusters.tolist() == [0] * 30 + [-1] * 6
    assert found.membership.tolist() == [1] * 30 + [0] * 6
    assert len(np.unique(found.positions, axis=0)) == 7


def test_another_layer_goes_on_from_the_map(mapper):
    vectors, _ = grouped()
    other = vectors + 0.5 * np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    start = last(mapper.map(vectors, MapOptions())).positions
    chained, fresh = (last(mapper.map(other, MapOptions(), begin)) for begin in (start, None))
    moved = [np.linalg.norm(each.positions - start, axis=1).mean() for each in (chained, fresh)]
    radius = np.linalg.norm(start - start.mean(0), axis=1).mean()
    assert moved[0] < 0.5 * radius
    assert moved[0] < moved[1]
    assert chained.trust > fresh.trust - 0.05
    assert start.min() - radius < chained.positions.min()
    assert chained.positions.max() < start.max() + radius


def test_new_photos_join_a_map(mapper):
    vectors, group = grouped()
    start = last(mapper.map(vectors, MapOptions())).positions
    start[140:] = np.nan
    positions = last(mapper.map(vectors, MapOptions(), start)).positions
    centres = np.stack([positions[:140][group[:140] == each].mean(0) for each in range(5)])
    nearest = np.linalg.norm(positions[140:, None] - centres, axis=-1).argmin(1)
    assert nearest.tolist() == group[140:].tolist()


def test_scores_come_layer_by_layer(mapper):
    vectors, group = grouped()
    labels = [f"group {each}" for each in group]
    noise = np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    found = [step for step in mapper.scores([(1, noise), ("final", vectors)], labels) if isinstance(step, LayerScore)]
    assert found == [score_layer(1, noise, labels), score_layer("final", vectors, labels)]
    assert found[0].accuracy < 0.5 < found[1].accuracy


def test_two_at_once_are_both_right(mapper):
    galleries = [grouped(seed=seed)[0] for seed in (1, 2, 3)]
    alone = [last(mapper.map(vectors, MapOptions())).positions for vectors in galleries]
    found: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        found[index] = last(mapper.map(galleries[index], MapOptions())).positions

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert all(np.array_equal(found[index], alone[index]) for index in range(3))


@pytest.mark.app
def test_a_stop_takes_effect_at_once_and_the_next_map_is_drawn(own):
    mapper = own()
    mapper.wait()
    large, _ = grouped(6000)
    steps = mapper.map(large, MapOptions())
    assert next(each for each in steps if each.phase == "map")
    begin = time.monotonic()
    steps.close()
    assert time.monotonic() - begin < 5
    assert len(last(mapper.map(grouped(30)[0], MapOptions())).positions) == 30


@pytest.mark.app
def test_a_map_that_takes_too_long_is_given_up(own):
    mapper = own(map_timeout=0.5)
    with pytest.raises(UserError, match=r"given up after 0\.5 seconds: choose fewer photos"):
        last(mapper.map(grouped(6000)[0], MapOptions()))


@pytest.mark.app
def test_a_child_that_dies_is_replaced(own):
    mapper = own()
    mapper.wait()
    steps = mapper.map(grouped(6000)[0], MapOptions())
    assert next(each for each in steps if each.phase == "map")
    os.kill(mapper._child._process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="has ended by itself"):
        last(steps)
    assert len(last(mapper.map(grouped(30)[0], MapOptions())).positions) == 30


@pytest.mark.app
def test_a_fault_is_logged_and_the_child_lives(own, caplog):
    mapper = own()
    mapper.wait()
    child = mapper._child
    with pytest.raises(RuntimeError):
        last(mapper.map(np.array([["no numbers"]] * 9), MapOptions()))
    assert "Traceback" in caplog.text
    assert len(last(mapper.map(grouped(30)[0], MapOptions())).positions) == 30
    assert mapper._child is child


@pytest.mark.app
def test_nothing_is_left_after_the_end(own):
    mapper = own()
    mapper.wait()
    process = mapper._child._process
    mapper.close()
    assert not process.is_alive()
    with pytest.raises(UserError, match="is stopping"):
        last(mapper.map(grouped(30)[0], MapOptions()))


def test_compiled_code_is_kept(mapper, cache_dir):
    mapper.wait()
    assert len(list((cache_dir / "compiled").rglob("*.nbi"))) > 10


@pytest.mark.slow
def test_damaged_compiled_code_is_made_anew(tmp_path):
    mapper = Mapper(Settings(cache_dir=tmp_path))
    mapper.wait()
    mapper.close()
    for path in (tmp_path / "compiled").rglob("*.nb?"):
        path.write_bytes(b"\x80\x05damaged")
    mapper = Mapper(Settings(cache_dir=tmp_path))
    mapper.wait()
    assert len(last(mapper.map(grouped(30)[0], MapOptions())).positions) == 30
    mapper.close()
