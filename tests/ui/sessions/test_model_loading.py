"""A model that loads: what is said of it, and how it is waited for."""

import threading
from types import SimpleNamespace

import pytest

from tests.support.waiting import finished
from vitdemo.core.errors import UserError
from vitdemo.core.models.weights import LoadProgress
from vitdemo.ui.sessions import model_loading
from vitdemo.ui.sessions.model_loading import arrived, progress_text

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.mark.parametrize(
    ("progress", "text", "share"),
    [
        (None, "Getting ready to load ViT-Ti/16 …", None),
        (LoadProgress("contact"), "Asking the model hub for ViT-Ti/16 …", None),
        (LoadProgress("download", 5_600_000, 22_400_000), "Downloading ViT-Ti/16: 6 of 22 MB", 0.25),
        (LoadProgress("download", 5_600_000), "Downloading ViT-Ti/16: 6 MB", None),
        (LoadProgress("load"), "Loading ViT-Ti/16 …", None),
    ],
)
def test_what_is_said_of_a_loading_model(progress, text, share):
    assert progress_text(SimpleNamespace(title="ViT-Ti/16", progress=progress)) == (text, share)


def test_a_model_is_waited_for(monkeypatch):
    monkeypatch.setattr(model_loading, "POLL_SECONDS", 0.001)
    done, asked = threading.Event(), []
    loading = SimpleNamespace(done=done, result=lambda: done.is_set() and "vit")
    store = SimpleNamespace(get=lambda name, visitor: asked.append((name, visitor)) or loading)
    threading.Timer(0.02, done.set).start()
    assert finished(arrived(store, "", "ann")) == "vit"
    assert finished(arrived(store, "tiny")) == "vit"
    assert asked == [(None, "ann"), ("tiny", "")]


def test_why_it_can_not_be_loaded():
    def fail():
        raise UserError("There is no such model.")

    done = threading.Event()
    done.set()
    store = SimpleNamespace(get=lambda *_: SimpleNamespace(done=done, result=fail))
    with pytest.raises(UserError, match="There is no such model"):
        finished(arrived(store, "x"))
