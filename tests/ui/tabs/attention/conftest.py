"""A photo under a small model, as the Attention tab keeps it."""

from functools import partial
from types import SimpleNamespace

import pytest

from tests.support.http import answer_of
from tests.support.pictures import noise
from tests.support.small_vits import small_vit
from vitdemo.core.config import Settings
from vitdemo.ui.server.upload import Upload
from vitdemo.ui.tabs.attention.page_data import page_data
from vitdemo.ui.tabs.attention.routes import AttentionRoutes
from vitdemo.ui.tabs.attention.sessions import AttentionSessions


@pytest.fixture
def sessions(tmp_path, monkeypatch, engine):
    """Scenes of a store whose one model is a small ViT."""
    monkeypatch.setattr("vitdemo.ui.tabs.attention.sessions.get_upload_folder", lambda: str(tmp_path / "uploads"))
    loading = SimpleNamespace(vit=small_vit())
    loading.result = lambda timeout=None: loading.vit
    store = SimpleNamespace(settings=Settings(), engine=engine, get=lambda name, visitor: loading, loading=loading)
    return AttentionSessions(store)


@pytest.fixture
def upload(tmp_path):
    noise(90, 70).save(tmp_path / "photo.png")
    return Upload(tmp_path / "photo.png", "photo.png")


def seen(sessions, upload, vit=None, visitor="v"):
    vit = vit or sessions.store.loading.vit
    sessions.store.loading.vit = vit
    return page_data(sessions, visitor, "small", vit, upload, vit.preprocessing)


@pytest.fixture
def session(sessions, upload):
    """The session of the photo."""
    return sessions.get(seen(sessions, upload)["session"])


@pytest.fixture
def ask(sessions, session):
    """ask("classes", words="a") → what the page is answered of that session."""
    return partial(answer_of, AttentionRoutes(sessions), session=session.id)
