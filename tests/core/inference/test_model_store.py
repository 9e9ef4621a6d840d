"""The store: one load for everyone, bounded memory, nobody evicted for nothing. Real models, random weights, a hub cache of our own."""

import threading
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.support.apps import TINY
from tests.support.small_vits import small_vit
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference import model_store, precision
from vitdemo.core.inference.model_store import RETRY_SECONDS, ModelStore
from vitdemo.core.models import catalogue, loader, names

SMALL, SMALL32 = "vit_small_patch16_224.augreg_in21k_ft_in1k", "vit_small_patch32_224.augreg_in21k_ft_in1k"  # 88 and 92 MB
DEIT = "deit3_small_patch16_224.fb_in22k_ft_in1k"  # 88 MB


@pytest.fixture(scope="module", autouse=True)
def hub_cache(tmp_path_factory):
    """TINY, SMALL and SMALL32 as huggingface_hub's cache holds them; DEIT is not there."""
    folder = tmp_path_factory.mktemp("cache")
    for name in (TINY, SMALL, SMALL32):
        torch.manual_seed(0)
        repo = folder / f"models--timm--{name}"
        (repo / "snapshots" / "commit").mkdir(parents=True)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("commit")
        save_file(timm.create_model(name).state_dict(), repo / "snapshots" / "commit" / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield folder


def store(**settings) -> ModelStore:
    return ModelStore(Settings(**{"model": TINY, "model_cache_mb": 150} | settings))


def loaded(store: ModelStore) -> set[str]:
    return {name for name, each in store._models.items() if each.vit}


def test_everyone_gets_the_same_load():
    ours, found = store(), []
    threads = [threading.Thread(target=lambda number=number: found.append(ours.get(visitor=str(number)).result(60))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(vit) for vit in found}) == 1
    assert found[0].name == TINY


def test_the_logits_are_timm_s_own(hub_cache):
    ours = store()
    torch.manual_seed(0)
    theirs = timm.create_model(TINY).eval()
    batch = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(ours.engine.logits(ours.get().result(60), batch)[0], theirs(batch))


def test_a_model_nobody_holds_makes_room():
    ours = store()
    ours.get().result(60)
    ours.get(SMALL, "ann").result(60)
    ours.get(TINY, "ann").result(60)  # Ann has gone back: nobody holds SMALL
    ours.get(SMALL32, "bob").result(60)
    assert loaded(ours) == {TINY, SMALL32}


def test_a_model_somebody_holds_stays_and_the_newcomer_is_told():
    ours = store()
    ours.get().result(60)
    ours.get(SMALL, "ann").result(60)
    with pytest.raises(UserError, match=r"There is no room for this model .* Choose a smaller one"):
        ours.get(SMALL32, "bob").result(60)
    assert loaded(ours) == {TINY, SMALL}


def test_a_visitor_who_left_holds_nothing():
    ours = store()
    ours.get(SMALL, "ann").result(60)
    ours.leave("ann")
    ours.get(SMALL32, "bob").result(60)
    assert loaded(ours) == {SMALL32}


def test_a_hold_ends_by_itself():
    ours = store()
    ours.get(SMALL, "ann").result(60)
    ours._models[SMALL].holders["ann"] -= 60 * ours.settings.model_hold_minutes + 1  # as if that much time had gone by
    ours.get(SMALL32, "bob").result(60)
    assert loaded(ours) == {SMALL32}


def test_the_operators_model_is_never_evicted():
    ours = store(model=SMALL)
    ours.get().result(60)
    with pytest.raises(UserError, match="no room"):
        ours.get(SMALL32, "bob").result(60)
    assert loaded(ours) == {SMALL}


def test_another_precision_is_another_model():
    ours = store()
    plain, lower = ours.get(TINY, "ann").result(60), ours.get(f"{TINY}@bf16", "bob").result(60)
    assert (plain.id, lower.id) == (TINY, f"{TINY}@bf16")
    assert 0.5 < lower.bytes / plain.bytes < 0.6
    assert ours.get(f"{TINY}@fp32").result(60) is plain
    assert ours.get("@bf16").result(60) is lower  # the operator's model
    assert loaded(ours) == {TINY, f"{TINY}@bf16"}


def test_a_lower_precision_counts_with_what_it_takes():
    ours = store()  # 150 MB
    ours.get().result(60)
    ours.get(f"{SMALL}@bf16", "ann").result(60)  # 44 MB
    ours.get(f"{SMALL32}@bf16", "bob").result(60)  # 46 MB
    assert len(loaded(ours)) == 3
    with pytest.raises(UserError, match="There is no room for this model"):
        ours.get(SMALL, "cid").result(60)
    ours.leave("ann")
    ours.leave("bob")
    ours.get(SMALL32, "cid").result(60)  # 92 MB
    assert {TINY, SMALL32} <= loaded(ours)


def test_a_second_precision_of_the_operators_model_is_evicted_like_any():
    ours = store(model=SMALL)
    ours.get().result(60)
    ours.get(f"{SMALL}@bf16", "ann").result(60)
    ours.leave("ann")
    ours.get(f"{SMALL32}@bf16", "bob").result(60)
    assert loaded(ours) == {SMALL, f"{SMALL32}@bf16"}


def test_auto_is_decided_when_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "measure", lambda *rest: precision.Measurement(2.5, 0.9997))
    ours = store(precision="auto", cache_dir=tmp_path)
    vit = ours.get().result(60)
    assert (vit.precision, vit.notes[-1]) == ("bf16", precision.Measurement(2.5, 0.9997).sentence)
    assert ours.get(f"{TINY}@bf16").result(60) is vit
    assert ours.get(f"{TINY}@fp32").result(60).precision == "fp32"


def test_auto_reserves_room_for_the_copy_that_is_measured(monkeypatch, tmp_path):
    wanted = []
    monkeypatch.setattr(ModelStore, "_make_room", lambda self, bytes, loading: wanted.append(bytes))
    monkeypatch.setattr(precision, "measure", lambda *rest: precision.Measurement(0.5, 1))
    for fast in (False, True):
        monkeypatch.setattr(precision, "has_fast_bf16", lambda device, fast=fast: fast)
        assert store(precision="auto", cache_dir=tmp_path).get().result(60).precision == "fp32"
    assert wanted[1] == wanted[0] * 3 // 2


def test_what_a_choice_stands_for():
    ours = store(precision="bf16")
    assert ours.get().result(60).precision == "bf16"
    for asked, meant in (
        (f"{TINY}@bf16", TINY),
        (f"{TINY}@fp32", f"{TINY}@fp32"),
        ("@fp32", f"{TINY}@fp32"),
        ("demo@auto", "demo@auto"),
        ("demo", "demo"),
    ):
        assert ours.allowed(asked) == meant
    for refused in ("demo@fp16", "demo@fp8", "nothing@bf16"):
        with pytest.raises(UserError, match="There is no model of that name here"):
            ours.allowed(refused)
    assert store(lock_model=True).allowed(f"{TINY}@bf16") == TINY
    assert store(model="local-dir:/srv/a@bf16").allowed(None) == "local-dir:/srv/a@bf16"
    assert ours.flags_of(f"{TINY}@fp32") == [f"--model={TINY}"]  # a child process has a precision of its own


@pytest.mark.parametrize("checkpoint", [None, Path("mine.safetensors")])
def test_a_child_process_finds_a_relative_folder(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = store(model="local-dir:models/mine", checkpoint=checkpoint)
    weights = [f"--checkpoint={tmp_path / checkpoint}"] if checkpoint else []
    for asked in ("local-dir:mine", "local-dir:mine@bf16", "@bf16"):
        assert ours.flags_of(asked) == [f"--model=local-dir:{tmp_path}/models/mine", *weights]


@pytest.mark.parametrize("given", ["checkpoint", "folder"])
def test_the_operators_own_file_answers_for_no_catalogue_entry(given, hub_cache, tmp_path):
    """timm's name of the file's architecture may be the entry's."""
    torch.manual_seed(1)
    folder = tmp_path / TINY
    timm.models.save_for_hf(timm.create_model(TINY), folder, safe_serialization=True)
    if given == "checkpoint":
        ours = store(model=TINY.split(".")[0], checkpoint=folder / "model.safetensors")
    else:
        ours = store(model=f"local-dir:{folder}")
    own = ours.get().result(60)
    entry = ours.get(TINY).result(60)
    weights = load_file(hub_cache / f"models--timm--{TINY}" / "snapshots" / "commit" / "model.safetensors")
    assert own.name == TINY
    assert torch.equal(entry.module.head.weight, weights["head.weight"])
    assert not torch.equal(own.module.head.weight, weights["head.weight"])
    assert ours.get().result(0) is own


def test_a_name_without_its_tag_is_the_same_copy():
    ours = store(model=TINY.split(".")[0])
    assert ours.get().result(60) is ours.get(TINY).result(60)


def test_a_failed_load_says_why_and_is_tried_again_later(hub_cache):
    ours = store()
    first = ours.get(DEIT)
    with pytest.raises(UserError, match="model hub is switched off"):
        first.result(60)
    assert ours.get(DEIT) is first
    first.ended = time.monotonic() - RETRY_SECONDS - 1
    assert ours.get(DEIT) is not first


@pytest.mark.parametrize("precision", ["", "@bf16"])
def test_a_licence_of_a_models_own_is_shown_before_the_download(precision, monkeypatch):
    dinov3, asked = "vit_small_patch16_dinov3.lvd1689m", []
    monkeypatch.setattr(loader, "load", lambda name, *rest, **options: (asked.append(name), small_vit())[1])
    ours = store(model_cache_mb=1000)
    sentence = (
        "DINOv3-S/16 comes under a licence of its own: read https://ai.meta.com/resources/models-and-libraries/dinov3-license/ and press "
        "Retry in the header, which accepts it and downloads the model."
    )
    with pytest.raises(UserError) as refused:
        ours.get(dinov3 + precision, "ann").result(60)
    assert str(refused.value) == sentence
    assert dinov3 not in asked
    ours.retry(dinov3 + precision)
    ours.get(dinov3 + precision, "ann").result(60)
    assert asked.count(dinov3) == 1
    store(model=dinov3).get().result(60)  # the operator named it
    assert asked.count(dinov3) == 2
    monkeypatch.setattr(catalogue, "is_here", lambda entry: True)
    store(model_cache_mb=1000).get(dinov3, "bob").result(60)  # nothing is downloaded
    assert asked.count(dinov3) == 3


def test_auto_without_a_way_to_the_weights_is_the_demo_model():
    vit = store(model="auto").get().result(60)
    assert (vit.name, len(vit.labels), vit.source) == ("demo", 21, "this app")


def test_what_answers_in_another_ones_place_says_why_and_is_loaded_anew_on_request(monkeypatch):
    ours = store(model="auto")
    first = ours.get(visitor="ann")
    first.result(60)
    assert first.instead == "ViT-B/16 is not on this machine. The model hub is switched off (HF_HUB_OFFLINE)."
    assert first.vit.precision == "fp32"
    ours.retry("auto")
    assert ours.get() is first  # everybody would wait for the hub as often as one visitor asks
    monkeypatch.setattr(model_store, "PAUSE_SECONDS", 0)
    ours.retry("auto")
    second = ours.get(visitor="ann")
    assert second is not first
    ours.retry("auto")  # it is still loading
    assert ours.get() is second
    second.result(60)
    named = ours.get(TINY)
    named.result(60)
    assert named.instead == ""
    ours.retry(TINY)  # nothing is wrong with it
    assert ours.get(TINY) is named
    failed = ours.get(DEIT)
    with pytest.raises(UserError):
        failed.result(60)
    assert ours.get(DEIT) is failed  # for a while
    ours.retry(DEIT)
    assert ours.get(DEIT) is not failed


def test_a_copy_without_the_demo_model_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(names, "ASSETS", tmp_path)
    with pytest.raises(UserError, match=r"connect and try again, or start with --checkpoint FILE\.safetensors"):
        store(model="auto").get().result(60)


@pytest.mark.parametrize("name", ["resnet50", "local-dir:/etc", "vit_base_patch16_224.mae", "../x", "<script>"])
def test_visitors_may_name_catalogue_entries_only(name):
    with pytest.raises(UserError, match="choose one from the list"):
        store().get(name, "ann")


@pytest.mark.parametrize("name", [["demo"], {"name": "demo"}, 3, True])
def test_a_name_that_is_no_text(name):
    ours = store()
    for ask in (ours.allowed, ours.get, ours.title_of, ours.parts_of):
        with pytest.raises(UserError, match="Name the model by a text"):
            ask(name)


@pytest.mark.parametrize("folder", ["/srv/mine", "/srv/mine/", "mine@bf16", "/srv/mine@bf16"])
def test_visitors_know_the_operators_folder_by_its_name(folder):
    settings = Settings(model=f"local-dir:{folder}")
    ours, name = ModelStore(settings), settings.public_model
    assert name == f"local-dir:{folder.strip('/').removeprefix('srv/')}"
    assert [ours.allowed(asked) for asked in (None, "", name, settings.model)] == [settings.model] * 4
    assert [ours.allowed(asked) for asked in ("@bf16", f"{name}@bf16")] == [f"{settings.model}@bf16"] * 2
    assert ours.parts_of(f"{name}@auto") == (settings.model, "auto")
    assert ours.title_of(name) == ours.title_of(settings.model)
    with pytest.raises(UserError, match="choose one from the list"):
        ours.allowed("local-dir:other")


def test_own_models_whose_folders_are_gone_are_forgotten(tmp_path):
    ours = store()
    for name in ("loaded", "rounded", "gone", "failed", "there"):
        (tmp_path / name).mkdir()
    for name in ("gone", "failed", "there"):
        ours.add(f"own:{name}", tmp_path / name, name)
    for name, choice in (("loaded", "own:loaded"), ("rounded", "own:rounded@bf16")):
        ours.add(f"own:{name}", loader.bundle_folder("demo"), name)
        ours.get(choice).result(60)
        assert (ours.title_of(choice), ours.get(choice).result().full_title) == (choice.removeprefix("own:").replace("@", " · "),) * 2
        ours.add(f"own:{name}", loader.bundle_folder("demo"), "another title")
        assert ours.get(choice).result().title == "another title"
        assert ours.own_title(choice).startswith("another title")
        ours.add(f"own:{name}", tmp_path / name, name)  # the folder from which the model came, as if
    assert ours.own_title("demo") == ""
    with pytest.raises(UserError):
        ours.get("own:failed").result(60)
    for name in ("loaded", "rounded", "gone", "failed"):
        (tmp_path / name).rmdir()
    ours.add("own:new", tmp_path, "new")
    assert set(ours._own) == {"own:loaded", "own:rounded", "own:there", "own:new"}
    assert set(ours._models) == {"own:loaded", "own:rounded@bf16"}
    assert ours.get("own:loaded").result(60).name == ours.get("own:rounded@bf16").result(60).name == "demo"
    with pytest.raises(UserError, match="choose one from the list"):
        ours.get("own:gone")


def test_a_locked_model_is_everyones():
    assert store(lock_model=True).get(SMALL, "ann").result(60).name == TINY


def test_a_device_that_is_not_there_is_said():
    with pytest.raises(UserError, match="no cuda:7"):
        store(device="cuda:7").get().result(60)
