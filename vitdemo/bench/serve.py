"""1,000 requests from 8 clients at an exported bundle's FastAPI server, none of them lost or wrong; compared with the bare runtime.

The bare runtime gets inputs that are already decoded and resized; the server decodes a JPEG for each request.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
REQUESTS, CLIENTS, PHOTOS = 1000, 8, 40
PATIENCE = 120  # seconds for the server to start, and for an answer
EXACT = 1e-4  # largest difference of a probability


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print latency and throughput, and return all figures.

    Args:
        runs: runs of the bare runtime, each over all photos; half of the runs before the requests, half after.
        photos: a folder of photos; the shared ImageNet photos by default, else the bundled drawings.
    """
    from vitdemo.core.config import SHARED, Settings
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.photos.samples import DRAWN_CLASSES
    from vitdemo.core.photos.search import find_items
    from vitdemo.export.bundle import export
    from vitdemo.export.plan import Plan

    checkpoint = SHARED / "weights" / f"{TINY}.safetensors"
    shared = SHARED / "data" / "imagenet_val"
    found = find_items([photos or (shared if shared.is_dir() else DRAWN_CLASSES)])
    items = found[:: max(1, len(found) // PHOTOS)][:PHOTOS]
    settings = Settings(model=TINY, checkpoint=checkpoint) if checkpoint.is_file() else Settings(model="demo")
    store = ModelStore(settings)
    vit = store.get().result()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        for _ in export(vit, store.engine, Plan("onnx", kits=("fastapi",)), bundle, settings, photos=items):
            pass
        data = [item.read(settings) for item in items]
        wanted = [_expected(vit, store.engine, item, settings) for item in items]
        bare = [_bare(bundle, vit, items, settings) for _ in range(-(-runs // 2))]
        with _server(bundle) as port:
            _post(port, data[0])
            begin = time.perf_counter()
            answers = _load(port, data)
            seconds = time.perf_counter() - begin
        bare += [_bare(bundle, vit, items, settings) for _ in range(runs // 2)]
    return _report(vit.name, answers, wanted, seconds, statistics.median(bare))


def _expected(vit, engine, item, settings) -> list[float]:
    """Return the original model's probabilities."""
    from vitdemo.core.photos.photo import open_photo

    tensor = vit.preprocessing(open_photo(item.path, settings).image)
    return engine.logits(vit, tensor[None])[0][0].softmax(-1).tolist()


def _bare(bundle: Path, vit, items, settings) -> float:
    """Return the photos per second of the bare runtime, with as many threads as cores, like the server."""
    import onnxruntime

    from vitdemo.core.photos.photo import open_photo

    inputs = [vit.preprocessing(open_photo(item.path, settings).image)[None].numpy() for item in items]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    session.run(None, {"image": inputs[0]})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda image: session.run(None, {"image": image}), inputs))
        return len(inputs) / (time.perf_counter() - begin)


class _server:
    """A context that runs the bundle's server in a process of its own, and gives its port."""

    def __init__(self, bundle: Path):
        self.bundle = bundle

    def __enter__(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "server:app", "--port", str(port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, cwd=self.bundle)
        begin = time.perf_counter()
        while time.perf_counter() - begin < PATIENCE and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=PATIENCE).close()
                return port
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("the server did not get ready")

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(30)


def _load(port: int, data: list[bytes]) -> list[tuple[int, float, int, list]]:
    """Send all requests. Returns for each its number, seconds, status and predictions."""
    numbers, answers, lock = count(), [], threading.Lock()

    def client() -> None:
        while (number := next(numbers)) < REQUESTS:
            begin = time.perf_counter()
            try:
                status, rows = _post(port, data[number % len(data)])
            except OSError:
                status, rows = 0, []
            with lock:
                answers.append((number, time.perf_counter() - begin, status, rows[0]["predictions"] if status == 200 else []))

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _post(port: int, data: bytes) -> tuple[int, list]:
    mark = "a3f1b0c2"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="photo"\r\n\r\n'.encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    connection.request("POST", "/predict?top=5", head + data + f"\r\n--{mark}--\r\n".encode(), headers)
    answer = connection.getresponse()
    result = answer.status, json.loads(answer.read())
    connection.close()
    return result


def _report(name: str, answers: list[tuple[int, float, int, list]], wanted: list[list[float]], seconds: float, bare: float) -> dict:
    lost = REQUESTS - sum(status == 200 for _, _, status, _ in answers)
    wrong = 0
    for number, _, status, rows in answers:
        truth = wanted[number % len(wanted)]
        close = all(abs(row["probability"] - truth[row["index"]]) <= EXACT for row in rows)
        wrong += status == 200 and not (close and rows[0]["index"] == max(range(len(truth)), key=truth.__getitem__))
    times = sorted(latency for _, latency, _, _ in answers)
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    speed = REQUESTS / seconds
    print(f"{name}, {REQUESTS} requests from {CLIENTS} clients, {len(wanted)} photos")
    print(f"  lost {lost}, wrong {wrong}; p50 {1e3 * p50:.0f} ms, p99 {1e3 * p99:.0f} ms")
    print(f"  server {speed:.1f} requests a second; bare runtime on decoded inputs {bare:.1f} photos a second; {speed / bare:.0%} of it")
    return {"lost": lost, "wrong": wrong, "p50": p50, "p99": p99, "requests_per_second": speed, "bare_per_second": bare}
