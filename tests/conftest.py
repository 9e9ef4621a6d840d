"""What several rooms' tests share, made once a session: one app, one small model, one engine, one process that draws maps."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.apps import TINY, Server, app_processes
from tests.support.pictures import noise
from tests.support.small_vits import write_bundle
from vitdemo.core.config import SHARED, Settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait for each other leave the cores to the other process


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for a whole tier, none for what is asked for by name."""
    return 2 if config.args == config.getini("testpaths") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real weights and photos are slow, but for those of another tier. What needs the app or maps runs in one process, first."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "shared" in fixtures and not {"app", "browser"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("slow")
        if {"cache_dir", "browser"} & fixtures:
            item.add_marker(pytest.mark.xdist_group("app"))
    items.sort(key=_order)


def _order(item: pytest.Item) -> tuple[bool, bool, bool]:
    """Maps come after the app's other tests, so that umap has been compiled by then."""
    maps = "embeddings" in item.path.parts or item.name == "test_embeddings"
    return item.get_closest_marker("xdist_group") is None, maps, "browser" in item.path.parts


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

    from vitdemo.core.models import loader

    return loader.load(TINY, Settings(model=TINY, checkpoint=tiny_checkpoint), torch.device("cpu"), lambda _: None)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A small plain ViT with random weights and eight named classes, in timm's own layout."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def vit(bundle):
    """The small ViT, loaded by this project."""
    import torch

    from vitdemo.core.models import loader

    return loader.load(f"local-dir:{bundle}", Settings(), torch.device("cpu"), lambda _: None)


@pytest.fixture(scope="session")
def engine():
    import torch

    from vitdemo.core.inference.engine import Engine

    return Engine(torch.device("cpu"))


@pytest.fixture(scope="session")
def picture(tmp_path_factory) -> Path:
    """A picture file of our own, 320×240."""
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    noise(32, 24).resize((320, 240), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    """A folder for compiled code and vectors, so that umap is compiled once for all tests: of several tiers, where they are told the folder
    for compiled code."""
    folder = tmp_path_factory.mktemp("cache")
    if compiled := os.environ.get("VITDEMO_TESTS_COMPILED"):
        Path(compiled).mkdir(exist_ok=True)
        (folder / "compiled").symlink_to(compiled)
    return folder


@pytest.fixture(scope="session")
def app(tmp_path_factory, cache_dir, bundle, mapper) -> Iterator[Server]:
    """The app with the small random ViT, in a process of its own, for all tests. umap is compiled meanwhile, which takes half a minute."""
    with app_processes(tmp_path_factory, cache_dir) as start:
        yield start("--model", f"local-dir:{bundle}")


@pytest.fixture(scope="module")
def start_app(tmp_path_factory, cache_dir):
    """Start the real app in a process of its own: start_app("--model", …, HF_ENDPOINT=…) → Server. Stopped after the file's last test."""
    with app_processes(tmp_path_factory, cache_dir) as start:
        yield start


@pytest.fixture(scope="session")
def mapper(cache_dir):
    """The process that draws maps, as the app has it."""
    from vitdemo.embeddings.maps.mapper import Mapper

    mapper = Mapper(Settings(cache_dir=cache_dir))
    mapper.warm()
    yield mapper
    mapper.close()


@pytest.fixture(scope="session")
def real_gallery(shared, real_tiny, engine):
    """The shared ImageNet photos through the real ViT-Tiny."""
    from vitdemo.core.photos.search import find_items
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

    gallery = EmbeddingGallery(find_items([shared / "data" / "imagenet_val"]), real_tiny, engine, Settings(vector_cache_mb=0))
    for _ in gallery.work():
        pass
    return gallery
