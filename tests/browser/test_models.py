"""What a person sees of models on their way, out of reach, and of choosing another one."""

import re
import socket

import pytest
import timm
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from tests.browser.test_classify import WAIT, give, labels
from tests.support.apps import TINY
from tests.support.hub import Hub

pytestmark = pytest.mark.browser

SMALL32 = "vit_small_patch32_224.augreg_in21k_ft_in1k"


def select(page: Page, title: str) -> None:
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option").filter(has_text=f"{title} · ").click()


@pytest.fixture
def hub(tmp_path):
    """A hub with random weights for two models of the catalogue."""
    files = {}
    for name in (TINY, SMALL32):
        torch.manual_seed(0)
        path = tmp_path / f"{name}.safetensors"
        save_file(timm.create_model(name).state_dict(), path)
        files[f"timm/{name}/model.safetensors"] = path
    hub = Hub(files)
    yield hub
    hub.close()


@pytest.fixture
def start_with_hub(start_app, hub, tmp_path):
    def start(*flags: str, **environ: str):
        return start_app(*flags, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0", **environ)

    return start


def test_the_page_opens_first_and_says_what_it_waits_for(start_with_hub, hub, open_page, picture):
    hub.behave = "slow"
    server = start_with_hub("--model", TINY)
    page = open_page(server)
    expect(page.locator("#model-status")).to_contain_text(re.compile(r"Downloading ViT-Ti/16: \d+ of 23 MB"), timeout=WAIT)
    give(page, picture)
    expect(page.locator("#answer")).to_contain_text(re.compile(r"Downloading ViT-Ti/16: \d+ of 23 MB Your photo is next\."), timeout=WAIT)
    expect(page.locator("#answer").get_by_role("progressbar")).to_be_visible()
    hub.behave = "well"
    assert len(labels(page)) == 5
    for fact in ("5.7 M parameters", "1,000 classes", "on CPU in fp32", "weights from the hub, downloaded now"):
        expect(page.locator("#model-status")).to_contain_text(fact)
    server.stop()


def test_another_model_for_one_visitor_only(start_with_hub, open_page, picture):
    server = start_with_hub("--model", TINY)
    ann, bob = open_page(server), open_page(server)
    for page in (ann, bob):
        give(page, picture)
        labels(page)
    ann.get_by_label("Model", exact=True).click()
    listed = ann.get_by_role("listbox")
    expect(listed.get_by_role("option", selected=True)).to_be_in_viewport()
    assert listed.evaluate("list => list.scrollTop") == 0  # ViT-Ti/16 is the third
    listed.get_by_role("option").filter(has_text="ViT-S/32 · ").click()
    expect(ann.locator("#answer .answer-head")).to_contain_text("ViT-S/32", timeout=WAIT)
    expect(ann.locator("#view")).to_contain_text("7×7 patches of 32×32")
    expect(ann.locator("#model-status")).to_contain_text("22.9 M parameters")
    give(bob, picture)
    expect(bob.locator("#answer .answer-head")).to_contain_text("ViT-Ti/16", timeout=WAIT)
    expect(bob.locator("#model-status")).to_contain_text("5.7 M parameters")
    select(bob, "ViT-B/32")  # the hub has none
    expect(bob.get_by_role("alert")).to_contain_text("The hub has no model timm/vit_base_patch32_224", timeout=WAIT)
    select(bob, "ViT-Ti/16")
    assert len(labels(bob)) == 5
    server.stop()


def test_another_choice_during_a_download_is_answered_at_once(start_with_hub, hub, open_page, picture):
    server = start_with_hub("--model", TINY)
    page = open_page(server)
    give(page, picture)
    labels(page)
    hub.behave = "trickle"
    select(page, "ViT-S/32")
    expect(page.locator("#model-status")).to_contain_text("Downloading ViT-S/32", timeout=WAIT)
    select(page, "ViT-Ti/16")
    expect(page.locator("#answer .answer-head")).to_contain_text("ViT-Ti/16", timeout=WAIT / 2)  # the download takes minutes
    expect(page.locator("#model-status")).to_contain_text("5.7 M parameters")
    for _ in range(20):  # and the download, which goes on, no longer shows
        assert "5.7 M parameters" in page.locator("#model-status").text_content()
        assert page.locator("#answer .predictions li:not([hidden])").count() == 5
        page.wait_for_timeout(100)  # two seconds in which nothing is to change
    server.stop()


def test_without_a_network_the_demo_model_answers(start_app, tmp_path, open_page, shared):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    server = start_app(HF_ENDPOINT=nowhere, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
    page = open_page(server)
    expect(page.locator("#model-status summary")).to_have_text("Offline: demo model", timeout=WAIT)
    expect(page.locator("#model-status")).to_contain_text("ViT-B/16 is not on this machine. The model hub can't be reached.")
    expect(page.locator("#model-status")).to_contain_text("2.5 M parameters")
    for name in ("cat", "umbrella"):
        page.get_by_role("button", name=f"Try the {name}").click()
        expect(page.locator("#answer li:not([hidden]) .label").first).to_have_text(name, timeout=WAIT)
        expect(page.locator("#answer .warning")).to_have_count(0)
    give(page, sorted((shared / "data" / "pets" / "images").glob("*.jpg"))[0])
    expect(page.locator("#answer .warning")).to_contain_text("Unlike anything it was trained on.", timeout=WAIT)
    server.stop()


def test_a_locked_model_can_not_be_changed(start_app, bundle, open_page, picture):
    server = start_app("--model", f"local-dir:{bundle}", "--lock-model")
    page = open_page(server)
    expect(page.get_by_label("Model", exact=True)).to_be_disabled()
    give(page, picture)
    assert len(labels(page)) == 5
    server.stop()


def test_a_feature_backbone_says_that_it_has_no_classes(start_app, tmp_path, open_page, picture):
    from timm.models import save_for_hf

    save_for_hf(
        timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2),
        tmp_path,
        model_config={"model_args": {"depth": 2}},
        safe_serialization=True,
    )
    server = start_app("--model", f"local-dir:{tmp_path}")
    page = open_page(server)
    give(page, picture)
    expect(page.get_by_role("alert")).to_contain_text("gives features, not classes: choose another model", timeout=WAIT)
    expect(page.locator("#view")).to_contain_text("14×14 patches")
    server.stop()


def test_a_visitor_selects_the_precision(start_app, bundle, open_page, picture):
    server = start_app("--model", f"local-dir:{bundle}", "--precision", "bf16", "--device", "cpu")
    page, other = open_page(server), open_page(server)
    chip, answer = page.locator("#model-status"), page.locator("#answer")
    expect(chip.locator(".model-state")).to_have_text("CPU · bf16", timeout=WAIT)
    give(page, picture)
    expect(answer).to_contain_text(f"{bundle.name} · bf16", timeout=WAIT)
    chip.locator("summary").click()
    expect(chip.get_by_role("radio", name="bf16")).to_be_checked()
    expect(chip.get_by_role("radio")).to_have_count(3)
    chip.get_by_role("radio", name="fp32").focus()
    page.keyboard.press("Space")
    expect(chip.locator(".model-state")).to_have_text("CPU · fp32", timeout=WAIT)
    expect(answer).not_to_contain_text("bf16", timeout=WAIT)
    assert len(labels(page)) == 5
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention .att-name")).to_have_text(re.compile(rf"{bundle.name}$"), timeout=WAIT)
    chip.locator("summary").click()
    expect(chip.get_by_role("radio", name="fp32")).to_be_checked()
    chip.get_by_role("radio", name="bf16").check()
    expect(page.locator("#attention .att-name")).to_contain_text(f"{bundle.name} · bf16", timeout=WAIT)
    give(other, picture)
    expect(other.locator("#answer")).to_contain_text(f"{bundle.name} · bf16", timeout=WAIT)
    server.stop()
