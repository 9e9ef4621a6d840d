"""Photos chosen on the map become classes: sent from Embeddings, learned in Fine-tune."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.pictures import paint

pytestmark = pytest.mark.browser

WAIT = 240_000  # milliseconds: the first map of all has umap compiled


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return paint(tmp_path_factory.mktemp("upload") / "colours", 6, 0)


def send(page: Page, folder: str, label: str = "") -> None:
    """Choose a folder's photos on the map and send them, under its name or another."""
    page.locator("#embeddings .map-colour").select_option("folder")
    page.get_by_role("radio", name="Groups").click()
    page.locator("#embeddings .map-entry", has_text=folder).click()
    expect(page.get_by_label("Class name")).to_have_value(folder)
    if label:
        page.get_by_label("Class name").fill(label)
    page.get_by_role("button", name="Add as class").click()
    expect(page.locator("#embeddings .emb-taught")).to_contain_text(label or folder)


def test_classes_are_sent_one_by_one_and_learned(app, open_page, folder):
    page = open_page(app)
    page.get_by_role("tab", name="Embeddings").click()
    page.set_input_files("#embeddings .folder", folder)
    expect(page.locator("#embeddings .emb")).to_be_visible(timeout=WAIT)
    page.wait_for_function("document.querySelector('#embeddings .map-canvas').photoMap.positions", timeout=WAIT)
    send(page, "red")
    expect(page.locator("#embeddings .emb-taught")).to_contain_text("6 photos are “red” in Fine-tune. Now select other photos")
    page.get_by_role("button", name="Open Fine-tune").click()
    expect(page.locator("#finetune .data .warning")).to_have_text(
        "“red” is the only class so far: select other photos in Embeddings and send them as another class.", timeout=WAIT
    )
    page.get_by_role("tab", name="Embeddings").click()
    page.get_by_label("Class name").fill(" ")
    page.get_by_role("button", name="Add as class").click()
    expect(page.locator("#embeddings .emb-taught")).to_contain_text("Give the class a name first.")
    send(page, "blue", "train/<i>cold</i>")
    expect(page.locator("#embeddings .emb-taught")).to_contain_text("There are 2 classes by now")
    page.get_by_role("button", name="Open Fine-tune").click()
    expect(page.locator("#finetune .data h2")).to_have_text("2 classes", timeout=WAIT)
    names = page.locator("#finetune .class .name").evaluate_all("all => all.map(each => each.value)")
    assert sorted(names) == ["red", "train/<i>cold</i>"]
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)
    expect(page.locator("#finetune .result")).to_contain_text("train/<i>cold</i>")
