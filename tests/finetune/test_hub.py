"""`finetune --push-to-hub` against a local stand-in: what arrives there, with whose token, and what is refused before a training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.finetune.learning.test_card import report
from tests.support.apps import ROOT
from tests.support.hub import Hub
from tests.support.pictures import paint
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.outputs import write_json
from vitdemo.finetune import hub as hub_module


@pytest.fixture
def hub():
    hub = Hub({})
    yield hub
    hub.close()


@pytest.fixture
def photos(tmp_path) -> Path:
    return paint(tmp_path / "photos", 4, 0)


def finetune(photos: Path, bundle: Path, output: Path, hub: Hub, **environ: str) -> subprocess.CompletedProcess:
    """The command in a process of its own, which reads its hub and token when it starts."""
    flags = ["--model", f"local-dir:{bundle}", "--device", "cpu", "--output", str(output), "--push-to-hub", "me/colours"]
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(output.parent / "home"), "HF_HUB_DISABLE_XET": "1"}
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "VITDEMO_"))}
    command = [sys.executable, "-m", "vitdemo", "finetune", str(photos), *flags]
    return subprocess.run(command, cwd=ROOT, env=known | own | environ, capture_output=True, text=True, timeout=240)


@pytest.mark.app
def test_the_bundle_arrives_with_its_card_and_without_the_photos_names(hub, bundle, photos, tmp_path):
    done = finetune(photos, bundle, tmp_path / "out", hub, HF_TOKEN="hf_mine")
    assert done.returncode == 0, done.stderr
    assert f"Uploaded to {hub.url}/me/colours" in done.stderr
    names = {"README.md", "config.json", "model.safetensors", "familiarity.safetensors", "report.json"}
    assert set(hub.received) == {f"me/colours/{name}" for name in names}
    assert hub.tokens == {"Bearer hf_mine"}
    for name in ("config.json", "model.safetensors"):
        assert hub.received[f"me/colours/{name}"] == (tmp_path / "out" / name).read_bytes()
    assert 'create_model("hf-hub:me/colours", pretrained=True)' in hub.received["me/colours/README.md"].decode()
    told = hub.received["me/colours/report.json"].decode()
    assert json.loads(told)["verdict"]
    assert str(photos) not in told


@pytest.mark.parametrize("name", ["colours", "me/", "me/a b", "me/a/b", "../colours"])
def test_a_name_that_can_be_no_repository(name):
    with pytest.raises(UsageError, match="it must be OWNER/NAME"):
        hub_module.check(name)


def test_nobody_logged_in_is_said_before_the_training(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="run hf auth login, or set HF_TOKEN"):
        hub_module.check("me/colours")


@pytest.fixture
def finished(tmp_path, hub, monkeypatch) -> Path:
    """A finished run's folder, and the client of this process at the stand-in."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    write_json(report() | {"photos": [{"photo": "secret.png"}], "worst": [], "why": []}, tmp_path / "report.json")
    return tmp_path


def test_a_push_sends_the_files_and_keeps_the_photos_names(finished, hub):
    assert hub_module.push(finished, "me/colours") == f"{hub.url}/me/colours"
    assert hub.received["me/colours/model.safetensors"] == b"model.safetensors"
    assert b"secret" not in hub.received["me/colours/report.json"]
    assert hub.tokens == {"Bearer hf_mine"}


def test_a_hub_that_refuses_leaves_the_model_here(finished, hub):
    hub.behave = "gated"
    with pytest.raises(UserError, match=r"The hub did not take the model \(.*\): it is in "):
        hub_module.push(finished, "me/colours")
    assert hub.received == {}
