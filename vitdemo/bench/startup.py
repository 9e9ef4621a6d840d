"""Time from process start to the served page, against the bare imports of torch, timm and gradio, in turn in one run."""

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

IMPORTS = "import torch, timm, gradio"
APP = Path(__file__).parents[2] / "app.py"
PATIENCE = 120  # seconds for the app to serve its page


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Time both sides `runs` times after one warm-up, print the medians, and return all figures in seconds. `photos` is not used."""
    environ = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    _imports(environ), _served(environ)
    imports, served = [], []
    for _ in range(runs):
        imports.append(_imports(environ))
        served.append(_served(environ))
    ratio = statistics.median(served) / statistics.median(imports)
    print(f"bare imports of torch, timm and gradio: {_figures(imports)}")
    print(f"process start to page served:           {_figures(served)}")
    print(f"ratio of the medians:                   {ratio:.2f}")
    return {"imports": imports, "served": served, "ratio": ratio}


def _figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs)"


def _imports(environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], env=environ, check=True)
    return time.perf_counter() - begin


def _served(environ: dict[str, str]) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.perf_counter()
    server = subprocess.Popen([sys.executable, APP, "--port", str(port)], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < PATIENCE and server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as page:
                    page.read()
                return time.perf_counter() - begin
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise RuntimeError("the app did not serve its page")
    finally:
        server.terminate()
        server.wait(30)
