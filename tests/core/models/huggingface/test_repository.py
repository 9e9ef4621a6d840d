"""Repositories: the real client against a local stand-in for the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from tests.support.apps import ROOT
from tests.support.hub import Hub
from tests.support.layouts import write_hugging_face, write_shards
from tests.support.small_vits import write_bundle
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.core.models.huggingface.repository import licence_of
from vitdemo.core.models.names import repository_of
from vitdemo.core.models.vit import Vit
from vitdemo.core.models.weights import HubUnreachable

REPO = "some-one/a_vit.v2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", num_classes=8, depth=3, embed_dim=48, num_heads=3)
    return write_hugging_face(tmp_path_factory.mktemp("repository"), module.state_dict(), processor={"size": 224})


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """Serves the folder's files as REPO's; the cache is empty."""
    hub = Hub({f"{REPO}/{path.name}": path for path in folder.iterdir()})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    hub.close()


def load(name: str = REPO, **settings) -> Vit:
    return loader.load(name, Settings(model=name, **settings), torch.device("cpu"), lambda _: None)


def asked(hub: Hub) -> set[str]:
    """The files that were downloaded."""
    return {path.rsplit("/")[-1] for method, path, _ in hub.requests if method == "GET"}


def test_it_is_downloaded_once_and_opens_like_a_folder(hub, folder, monkeypatch, caplog):
    vit, local = load(), load(f"local-dir:{folder}")
    assert (vit.name, vit.source) == (REPO, "the hub, downloaded now")
    assert [label.name for label in vit.labels] == [f"thing {index}" for index in range(8)]
    assert all(torch.equal(value, local.module.state_dict()[name]) for name, value in vit.module.state_dict().items())
    assert vit.preprocessing == local.preprocessing
    assert asked(hub) == {path.name for path in folder.iterdir()}
    assert caplog.messages == [f"{REPO} states no licence: read https://huggingface.co/{REPO} before you use it."]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    requests = len(hub.requests)
    assert load(f"hf-hub:{REPO}").source == "the hub cache on this machine"
    assert len(hub.requests) == requests


@pytest.mark.app
def test_the_command_line_asks_the_hub_that_HF_ENDPOINT_names(hub, picture, tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VITDEMO_"))}
    environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vitdemo", "classify", str(picture), "--model", REPO]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{REPO} states no licence: read https://huggingface.co/{REPO} before you use it." in done.stderr
    assert f"{REPO} on cpu, weights from the hub, downloaded now. Converted from Hugging Face's layout." in done.stderr
    assert "thing " in done.stdout


def test_shards(hub, folder, tmp_path):
    from safetensors.torch import load_file

    write_shards(tmp_path / "parts", load_file(folder / "model.safetensors"))
    del hub.files[f"{REPO}/model.safetensors"]
    hub.files |= {f"{REPO}/{path.name}": path for path in (tmp_path / "parts").iterdir()}
    assert load().source == "the hub, downloaded now"
    assert load().source == "the hub cache on this machine"


def test_timms_layout(hub, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    hub.files = {f"{REPO}/{path.name}": path for path in bundle.iterdir()}
    vit = load()
    assert (vit.name, vit.labels[0].name, vit.notes) == (REPO, "apple", ())


@pytest.mark.parametrize(("card", "told"), [("license: apache-2.0", 0), ("license: cc-by-nc-4.0", 1), ("license: mit", 0)])
def test_a_licence_of_its_own_is_told_and_linked_before_the_weights(hub, card, told, tmp_path, caplog):
    (tmp_path / "README.md").write_text(f"---\ntags:\n- vit\n{card}\n---\n# A ViT\n")
    hub.files[f"{REPO}/README.md"] = tmp_path / "README.md"
    del hub.files[f"{REPO}/model.safetensors"]
    with pytest.raises(UserError, match=f"{REPO} has no SafeTensors weights, and a pickle can run code"):
        load()
    said = f"{REPO} comes under a licence of its own (cc-by-nc-4.0): read it at https://huggingface.co/{REPO}."
    assert caplog.messages == [said] * told


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ('license: "mit"  ', "mit"),
        ("license: other\nlicense_name: dinov3-license\nlicense_link: https://x", "dinov3-license"),
        ("license: other", "other"),
        ("tags: [a]", ""),
    ],
)
def test_the_licence_of_a_card(front, licence):
    assert licence_of(f"---\n{front}\n---\nlicense: gpl") == licence
    assert licence_of(f"# {front}") == ""


def test_another_kind_of_model_is_refused_before_its_weights(hub, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    hub.files[f"{REPO}/config.json"] = tmp_path / "config.json"
    with pytest.raises(UserError, match=r"“bert” in .* is no ViT that this app converts"):
        load()
    assert asked(hub) == {"config.json"}


def test_what_the_hub_has_not(hub):
    with pytest.raises(UserError, match="The hub has no model no/where: check the name, or set HF_TOKEN if it is private"):
        load("no/where")
    del hub.files[f"{REPO}/config.json"]
    with pytest.raises(UserError, match=f"{REPO} has no config.json, so it says not what model it is"):
        load()
    hub.behave = "silent"
    with pytest.raises(HubUnreachable):
        load("some/other", hub_timeout=0.5)


def test_a_gated_repository(hub):
    hub.behave = "gated"
    with pytest.raises(UserError) as refused:
        load()
    assert str(refused.value) == f"{REPO} is given out by its owner on request: ask at https://huggingface.co/{REPO}, then set HF_TOKEN."


def test_with_a_checkpoint_the_weights_are_not_downloaded(hub, folder):
    assert load(checkpoint=folder / "model.safetensors").source == "the file given at the start"
    assert "model.safetensors" not in asked(hub)


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("google/vit-base-patch16-224", "google/vit-base-patch16-224"),
        ("hf-hub:facebook/dinov2-small", "facebook/dinov2-small"),
        ("timm/vit_base_patch16_224.mae", ""),
        ("hf-hub:timm/vit_base_patch16_224.mae", ""),
        ("vit_base_patch16_224", ""),
        ("local-dir:a/b", ""),
        ("../a", ""),
        ("a/b/c", ""),
        ("/a", ""),
        ("http://a/b", ""),
        ("a/../b", ""),
        ("demo", ""),
    ],
)
def test_names_of_repositories(name, repository):
    assert repository_of(name) == repository


def test_timms_own_names(tmp_path, monkeypatch):
    """`timm/NAME` is NAME, wherever it is found."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "hf-hub:timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"):
        with pytest.raises(HubUnreachable):
            load(name)
    with pytest.raises(UserError, match="timm has no model “vit_of_nowhere”"):
        load("timm/vit_of_nowhere")


def test_visitors_can_not_name_repositories_or_folders(folder):
    from vitdemo.core.inference.model_store import ModelStore

    store = ModelStore(Settings(model="demo"))
    for name in (REPO, f"hf-hub:{REPO}", f"local-dir:{folder}", "timm/vit_tiny_patch16_224"):
        with pytest.raises(UserError, match="There is no model of that name here: choose one from the list"):
            store.get(name)
