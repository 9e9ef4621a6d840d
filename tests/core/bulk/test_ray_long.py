"""Bulk work that is disturbed: 2,000 photos through the real ViT-Tiny while an actor, and then the driver, is killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.bulk.test_ray_data import assert_same, rows
from tests.support.apps import ROOT, TINY
from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.cli import main

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
PHOTOS = 2000


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Distinct drawings, and a file that is cut off."""
    folder = tmp_path_factory.mktemp("drawn")
    assert main(["sketch", "--count", str(PHOTOS), "--seed", "5", "--output", str(folder)]) == 0
    whole = next((folder / "images").rglob("*.*"))
    (folder / "images" / f"cut off{whole.suffix}").write_bytes(whole.read_bytes()[:2000])
    return folder / "images"


def children(pid: int) -> list[int]:
    """Its children, by what the system says of every process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if re.search(rf"^PPid:\s+{pid}$", status.read_text(), re.MULTILINE):
                found.append(int(status.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""


def actors(driver: int) -> list[int]:
    """The driver starts Ray's node, and that starts the actors."""
    return [each for node in children(driver) for each in children(node) if name(each).startswith("ray::") and "_Model" in name(each)]


def wait_for(parts: int, output: Path, driver: subprocess.Popen) -> None:
    def written() -> bool:
        assert driver.poll() is None, "the driver has ended"
        return len(list(output.glob("part-*.parquet"))) >= parts

    until(written, 300)


def test_nothing_is_lost_and_nothing_done_twice(photos, tiny_checkpoint, tmp_path, capsys):
    output, local = tmp_path / "out", tmp_path / "out.parquet"
    model = ["--model", TINY, "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    command = [sys.executable, "-m", "vitdemo", "classify", str(photos), *model, "--engine", "ray", "--output", str(output)]
    driver = subprocess.Popen(command, cwd=ROOT, stderr=(tmp_path / "first").open("w"))
    wait_for(3, output, driver)
    before = actors(driver.pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    wait_for(18, output, driver)
    after = actors(driver.pid)
    assert before[0] not in after
    assert len(after) == 2  # it has been replaced
    node = children(driver.pid)
    driver.kill()
    driver.wait()
    until(lambda: not any(map(name, [*node, *after])))  # nothing of it is left running
    written = {path: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
    done = len(rows(output))
    assert 0 < done < PHOTOS

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=560)
    assert again.returncode == 0, again.stderr
    assert f"{done} of {PHOTOS + 1} photos are there already" in again.stderr
    assert f"{PHOTOS + 1 - done} rows in {output}" in again.stderr
    assert written.items() <= {path: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}.items()
    with capsys.disabled():
        print(f"\nactor killed after 3 parts, driver after {done} photos; the second run:\n{again.stderr}")

    assert main(["classify", str(photos), *model, "--output", str(local)]) == 0
    assert_same(output, local, "probabilities")
    found = rows(output)
    assert len(found) == PHOTOS + 1
    assert [row["error"] is not None for row in found.values()].count(True) == 1
    assert len({row["sha256"] for row in found.values() if not row["error"]}) == PHOTOS


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 150 << 20})
cluster.add_node(num_cpus=1, object_store_memory=150 << 20)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_a_cluster_of_two_machines_that_do_not_know_this_package(bundle, tmp_path):
    """It reaches the workers with the job."""
    for number in range(40):
        noise(40, 30, number).save(tmp_path / f"{number}.png")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"RAY_USAGE_STATS_ENABLED": "0"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    cluster = subprocess.Popen([sys.executable, "-c", CLUSTER], cwd=tmp_path, env=environ, **pipes)
    try:
        address = cluster.stdout.readline().strip()
        output = tmp_path / "out"
        asked = ["classify", str(tmp_path), "--model", f"local-dir:{bundle}", "--device", "cpu", "--engine", "ray", "--output", str(output)]
        command = [sys.executable, "-m", "vitdemo", *asked, "--address", address]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "2 actors" in done.stderr
        assert len(rows(output)) == 40
    finally:
        cluster.communicate()
