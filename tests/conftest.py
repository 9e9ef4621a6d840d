"""Fixtures that several rooms' tests share."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitdemo
from vitdemo.core.config import SHARED, Settings

ROOT = Path(vitdemo.__file__).parents[1]
TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@dataclass
class Server:
    """A running app: its address, its process and what it printed."""

    url: str
    process: subprocess.Popen
    log: Path

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real weights and photos; tests that need them skip where they are not."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"real weights and photos are not at {SHARED} (VITDEMO_SHARED)")
    return SHARED.resolve()


@pytest.fixture(scope="session")
def tiny_checkpoint(shared) -> Path:
    return shared / "weights" / f"{TINY}.safetensors"


@pytest.fixture(scope="session")
def real_tiny(tiny_checkpoint):
    """The real ViT-Tiny, loaded by this project."""
    import torch

    from vitdemo.core import models

    return models.load(TINY, Settings(model=TINY, checkpoint=tiny_checkpoint), torch.device("cpu"), lambda _: None)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A small plain ViT with random weights and eight named classes, in timm's own layout."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=8, depth=3, embed_dim=48, num_heads=3)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    names = ["apple", "boat", "cat", "door", "<b>egg</b>", "fish", "gate", "hat"]
    folder = tmp_path_factory.mktemp("bundle")
    save_for_hf(
        model,
        folder,
        model_config={"label_names": names, "model_args": {"depth": 3, "embed_dim": 48, "num_heads": 3}},
        safe_serialization=True,
    )
    return folder


@pytest.fixture(scope="session")
def vit(bundle):
    """The small ViT, loaded by this project."""
    import torch

    from vitdemo.core import models

    return models.load(f"local-dir:{bundle}", Settings(), torch.device("cpu"), lambda _: None)


@pytest.fixture(scope="session")
def engine():
    import torch

    from vitdemo.core.engine import Engine

    return Engine(torch.device("cpu"))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def picture(tmp_path_factory) -> Path:
    """A picture file of our own, 320×240."""
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    noise(32, 24).resize((320, 240), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def start_app(tmp_path_factory, cache_dir):
    """Start the real app in a process of its own: start_app("--model", …, HF_ENDPOINT=…) → Server. Stopped after the file's last test."""
    with apps(tmp_path_factory, cache_dir) as start:
        yield start


@contextmanager
def apps(tmp_path_factory, cache_dir: Path) -> Iterator[Callable[..., Server]]:
    """Starts apps, and stops them at its end."""
    started = []

    def start(*flags: str, **environ: str) -> Server:
        log = tmp_path_factory.mktemp("app") / "log.txt"
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", "0", *flags],
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1,localhost", "VITDEMO_CACHE_DIR": str(cache_dir)} | environ,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            opened = [line for line in log.read_text().splitlines() if line.startswith("vitdemo is open at ")]
            if opened:
                server = Server(opened[0].rsplit(" ", 1)[1].rstrip("/"), process, log)
                urllib.request.urlopen(server.url, timeout=60).close()
                return server
            time.sleep(0.1)
        raise RuntimeError(f"the app did not start:\n{log.read_text()}")

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            process.wait(60)


def finished(work: Coroutine):
    """The result of a coroutine, in a thread of its own: the browser's driver has a loop at work in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def ask(script: str, server: Server, *arguments: str):
    """Run a script that speaks to the server by gradio_client, in a process of its own. Returns the JSON it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", script, server.url, *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def app(tmp_path_factory, cache_dir, bundle) -> Iterator[Server]:
    """The app with the small random ViT, for all tests."""
    with apps(tmp_path_factory, cache_dir) as start:
        yield start("--model", f"local-dir:{bundle}")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    """A folder for compiled code and vectors, so that umap is compiled once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def mapper(cache_dir):
    """The process that draws maps, as the app has it."""
    from vitdemo.embeddings.mapper import Mapper

    mapper = Mapper(Settings(cache_dir=cache_dir))
    mapper.warm()
    yield mapper
    mapper.close()


@pytest.fixture(scope="session")
def real_gallery(shared, real_tiny, engine):
    """The shared ImageNet photos through the real ViT-Tiny."""
    from vitdemo.core.gallery import find_items
    from vitdemo.embeddings.gallery import Embedding

    gallery = Embedding(find_items([shared / "data" / "imagenet_val"]), real_tiny, engine, Settings(vector_cache_mb=0))
    for _ in gallery.work():
        pass
    return gallery
