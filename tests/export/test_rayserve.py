"""A bundle under the real Ray Serve: real requests, one batch of many, more replicas with more traffic."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.export.test_serving import ask, expected
from tests.support.apps import free_port
from tests.support.pictures import noise
from vitdemo.core.photos.search import find_items
from vitdemo.export.bundle import export
from vitdemo.export.plan import Plan
from vitdemo.export.report import TEMPLATES

pytestmark = pytest.mark.slow

pytest.importorskip("ray.serve", exc_type=ImportError)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        noise(90 + 7 * number, 60 + 5 * number, number).save(folder / f"{number}.jpg", quality=95)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def bundle_with_ray(vit, engine, photos, tmp_path_factory) -> Path:
    from vitdemo.core.config import Settings

    output = tmp_path_factory.mktemp("served") / "bundle"
    list(export(vit, engine, Plan("onnx", kits=("ray",)), output, Settings(), photos=find_items(photos)))
    return output


@pytest.fixture(scope="module")
def server(bundle_with_ray, tmp_path_factory):
    """The kit's own command, as its README gives it → the port."""
    port, log = free_port(), tmp_path_factory.mktemp("log") / "log.txt"
    environ = os.environ | {"PORT": str(port), "MAX_REPLICAS": "2", "GROW_AFTER": "0.5", "MAX_MB": "1", "BATCH_WAIT": "0.05"}
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits the deafness of what begins in a background
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "ray_server.py"],
            cwd=bundle_with_ray,
            env=environ,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    signal.signal(signal.SIGINT, heard)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=30).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)  # between two looks
        yield port, log
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_originals_probabilities_to_many_clients(server, vit, photos):
    port, _ = server

    def client(path: Path) -> None:
        status, rows = ask(port, "/predict?top=8", [(path.name, path.read_bytes())])
        assert (status, rows[0]["file"], len(rows[0]["predictions"])) == (200, path.name, 8)
        wanted = expected(vit, path)
        for each in rows[0]["predictions"]:
            assert each["probability"] == pytest.approx(wanted[each["index"]], abs=1e-5)
            assert each["name"] == vit.labels[each["index"]].name

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, photos * 3))


def test_rows_in_order_and_what_is_refused(server, photos):
    port, _ = server
    good = [(each.name, each.read_bytes()) for each in photos[:2]]
    status, rows = ask(port, "/predict", [good[0], ("bad.jpg", b"no photo"), good[1]])
    assert (status, [row["file"] for row in rows]) == (200, [photos[0].name, "bad.jpg", photos[1].name])
    assert "no photo that can be read" in rows[1]["error"]
    assert ask(port, "/predict", [("bad.jpg", b"no photo")])[0] == 422
    assert ask(port, "/predict", [])[0] == 422
    assert ask(port, "/predict?top=x", good)[0] == 422
    assert ask(port, "/predict")[0] == 404
    assert ask(port, "/elsewhere", good)[0] == 404
    status, said = ask(port, "/predict", [("large.jpg", bytes(2_000_000))])
    assert (status, said) == (413, {"detail": "A request may have 1 MB: send fewer or smaller photos."})


def test_photos_of_many_requests_are_one_batch_and_traffic_brings_a_second_replica(server, photos):
    """Seen by Ray Serve's own log of what its controller does."""
    port, log = server

    grown, until = re.compile(r"Upscaling .*Vit.* from 1 to 2 replicas"), time.monotonic() + 120

    def client(number: int) -> None:
        while time.monotonic() < until and not grown.search(log.read_text()):
            assert ask(port, "/predict", [(photos[number % 8].name, photos[number % 8].read_bytes())])[0] == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client, range(16)))
    assert grown.search(log.read_text()), log.read_text()[-3000:]


def test_a_batch_is_taken_together(bundle_with_ray, photos):
    """The class behind the deployment, in a process of its own: eight photos are one run of the model."""
    script = (
        "import json, sys, numpy as np; import ray_server;"
        "vit = ray_server.Vit.func_or_class(); sizes = []; real = vit.run;"
        "vit.run = lambda batch: sizes.append(len(batch)) or real(batch);"
        "rows = vit.answer([(path, open(path, 'rb').read(), 3) for path in sys.argv[1:]] + [('x', b'x', 1)]);"
        "print(json.dumps([sizes, len(rows), 'error' in rows[-1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, photos)], cwd=bundle_with_ray, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[8], 9, True]


def test_another_answer_than_the_known_one(bundle_with_ray, tmp_path):
    import shutil

    copy = shutil.copytree(bundle_with_ray, tmp_path / "copy")
    np.save(copy / "known_answer" / "output.npy", np.load(copy / "known_answer" / "output.npy") + 1)
    script = "import ray_server; ray_server.Vit.func_or_class()"
    done = subprocess.run([sys.executable, "-c", script], cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert "On this machine the model's known answer is off by 1" in done.stderr


def test_the_clusters_file_names_what_is_there():
    import yaml

    told = yaml.safe_load((TEMPLATES / "rayserve" / "ray_serve.yaml").read_text("utf-8"))
    (application,) = told["applications"]
    assert application["import_path"] == "ray_server:app"
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(told)  # Ray's own schema
