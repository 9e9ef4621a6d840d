"""Time from process start to the served page, against the bare imports of torch, timm and gradio; then to the first answer, with memory.

The first answer is ViT-B/16's, from a file with random weights, to a bundled picture sent as soon as the page is there.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from vitdemo.bench.load_visitors import Kind, Tally, ask_once, upload
from vitdemo.bench.sides import peak_mb

IMPORTS = "import torch, timm, gradio"
APP = Path(__file__).parents[2] / "app.py"
PICTURE = APP.parent / "assets" / "examples" / "cat.jpg"
PATIENCE = 120  # seconds for the app to serve its page, and then to answer


def run(*, runs: int = 5, photos: Path | None = None, precisions: Sequence[str] = ("fp32",)) -> dict:
    """Time all sides `runs` times after one warm-up, print the medians, and return all figures in seconds and megabytes.

    Args:
        photos: not used: a bundled picture is answered.
        precisions: of the model that answers first.
    """
    environ = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    _imports(environ), _served(environ)
    imports, served = [], []
    for _ in range(runs):
        imports.append(_imports(environ))
        served.append(_served(environ))
    ratio = statistics.median(served) / statistics.median(imports)
    print(f"bare imports of torch, timm and gradio: {_figures(imports)}")
    print(f"process start to page served:           {_figures(served)}")
    print(f"ratio of the medians:                   {ratio:.2f}", flush=True)
    return {"imports": imports, "served": served, "ratio": ratio, "answered": _answers(environ, precisions, runs)}


def _answers(environ: dict[str, str], precisions: Sequence[str], runs: int) -> dict[str, dict[str, list]]:
    """Time the first answer of ViT-B/16 in each precision, in turn. Returns: precision → seconds and peak megabytes of each start."""
    from safetensors.torch import save_file

    from vitdemo.bench.models import BASE, network_of

    found: dict[str, dict[str, list]] = {precision: {"seconds": [], "peak_mb": []} for precision in precisions}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        save_file({name: value.contiguous() for name, value in network_of(BASE).state_dict().items()}, weights)
        for _ in range(runs):
            for precision, figures in found.items():
                seconds, peak = _answered(environ, "--model", BASE, "--checkpoint", str(weights), "--precision", precision)
                figures["seconds"].append(seconds)
                figures["peak_mb"].append(peak)
    for precision, figures in found.items():
        memory = "" if None in figures["peak_mb"] else f", {statistics.median(figures['peak_mb']):.0f} MB at most"
        print(f"process start to first answer, {precision}:   {_figures(figures['seconds'])}{memory}", flush=True)
    return found


def _figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs)"


def _imports(environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], env=environ, check=True)
    return time.perf_counter() - begin


def _served(environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    with _app(environ):
        return time.perf_counter() - begin


def _answered(environ: dict[str, str], *flags: str) -> tuple[float, float | None]:
    """Start the app, and ask for the classes of a picture. Returns: seconds until the answer, and the app's peak memory in megabytes.

    Raises: RuntimeError where there is no answer.
    """
    begin = time.perf_counter()
    with _app(environ, *flags) as (process, url):
        _ask(url)
        return time.perf_counter() - begin, peak_mb(process.pid)


def _ask(url: str) -> None:
    async def photo(client: httpx.AsyncClient, _: int):
        sent = await upload(client, PICTURE.name, PICTURE.read_bytes())
        return "classify", [sent, "", 5, None], lambda answer: len(answer[0]["predictions"]) == 5

    async def ask() -> Tally:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            await ask_once(client, Kind("classify", 1, photo), 0, tally := Tally())
            return tally

    tally = asyncio.run(ask())
    if tally.said or tally.wrong["classify"]:
        raise RuntimeError(f"the app did not answer: {tally.said or 'not with five classes'}")


@contextmanager
def _app(environ: dict[str, str], *flags: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The app in a process of its own, from the moment that it has served its page. Raises: RuntimeError where it never does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin, url = time.perf_counter(), f"http://127.0.0.1:{port}"
    command = [sys.executable, str(APP), "--port", str(port), *flags]
    server = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < PATIENCE and server.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/", timeout=PATIENCE) as page:
                    page.read()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
            else:
                yield server, url
                return
        raise RuntimeError("the app did not serve its page")
    finally:
        server.terminate()
        server.wait(30)
