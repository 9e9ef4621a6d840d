"""One way through each tab as a person would take it, in a real browser, with axe's verdict: wide and light, narrow and dark."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.test_classify import clear
from tests.support.pictures import noise, paint

WAIT = 180_000  # milliseconds: the first map of all has umap compiled


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three folders of four photos, and one that can't be read."""
    folder = paint(tmp_path_factory.mktemp("upload") / "colours", 4, 0)
    (folder / "red" / "broken.png").write_bytes(b"no photo")
    return folder


def open_tab(page: Page, name: str) -> Page:
    page.get_by_role("tab", name=name).click()
    return page


def settled(page: Page) -> Page:
    """Once no colour is fading into another."""
    page.wait_for_function("document.getAnimations().every(animation => animation.playState !== 'running')")
    return page


def check_access(page: Page) -> None:
    """No serious finding of axe's, and nothing beside the page, at 1280 px in light and at 390 px in dark."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        if width == 390:
            page.get_by_role("button", name="Light or dark").click()
        violations = Axe().run(settled(page)).response["violations"]
        serious = [
            (each["id"], node["html"][:200]) for each in violations if each["impact"] in ("serious", "critical") for node in each["nodes"]
        ]
        assert serious == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_one_photo(app, open_page, picture, vit):
    page = open_page(app)
    page.set_input_files("#photo input[type=file]", picture)
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(5, timeout=WAIT)
    from PIL import Image

    from vitdemo.classify.photo import classify
    from vitdemo.core.inference.engine import Engine

    with Image.open(picture) as image:
        expected = classify(image.convert("RGB"), vit, Engine(vit.device), top=5).predictions
    assert page.locator("#answer .predictions li:not([hidden]) .label").all_inner_texts() == [each.label.name for each in expected]
    expect(page.locator("#view svg")).to_be_visible()
    page.get_by_role("tab", name="Many photos").click()
    page.get_by_role("tab", name="One photo").click()
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(5)
    check_access(page)


def test_many_photos(app, open_page, folder):
    page = open_page(app)
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#gallery .folder", folder)
    expect(page.locator("#gallery .run-text")).to_contain_text("13 of 13 photos, 1 of them can't be read", timeout=WAIT)
    rows = page.locator("#gallery tbody tr")
    expect(rows).to_have_count(13)
    rows.first.locator("button").first.click()
    expect(page.locator("#gallery .detail img").first).to_be_visible(timeout=WAIT)
    with page.expect_download() as download:
        page.locator("#gallery").get_by_role("button", name="CSV").click()
    assert Path(download.value.path()).read_text("utf-8").count("\n") > 13
    page.keyboard.press("Escape")
    check_access(page)


def test_attention(app, open_page, picture):
    page = open_tab(open_page(app), "Attention")
    page.set_input_files("#attention .att-pick", picture)
    expect(page.locator("#attention")).to_have_attribute("data-state", "ready", timeout=WAIT)
    page.locator("#attention .att-method").get_by_role("radio", name="Rollout").click()
    expect(page.locator("#attention .att-title")).to_contain_text("rollout", ignore_case=True)
    assert page.locator("#attention .att-heat").evaluate("canvas => canvas.width") > 100
    page.locator("#attention .att-heat").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    check_access(page)


def test_finetune(app, open_page, folder):
    page = open_tab(open_page(app), "Fine-tune")
    page.set_input_files("#finetune .folder", folder)
    expect(page.locator("#finetune .data")).to_contain_text("3 classes", timeout=WAIT)
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name=re.compile("Use this model")).click()
    expect(page.locator("#model input")).to_have_value(re.compile("Your model “Run 1” · 3 classes"), timeout=WAIT)
    check_access(page)


def test_export(app, open_page):
    page = open_tab(open_page(app), "Export")
    expect(page.locator("#export .start")).to_be_enabled(timeout=WAIT)
    page.locator("#export [name=exp-format][value=safetensors]").check()
    page.get_by_role("button", name="Export", exact=True).click()
    card = page.locator("#export .exp-result")
    expect(card.locator(".exp-head")).to_be_visible(timeout=WAIT)
    expect(card).to_contain_text("model.safetensors")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#trial .trial-side")).to_have_count(2, timeout=WAIT)
    expect(page.locator("#trial")).to_contain_text("The same top class.")
    check_access(page)


def test_a_photo_that_is_none_gets_a_sentence_and_the_next_an_answer(app, open_page, picture, tmp_path):
    (tmp_path / "words.png").write_text("words")
    page = open_page(app)
    page.set_input_files("#photo input[type=file]", tmp_path / "words.png")
    expect(page.locator("#answer")).to_contain_text("“words.png” is not a photo", timeout=WAIT)
    noise(90, 70).save(tmp_path / "photo.png")
    clear(page)
    page.set_input_files("#photo input[type=file]", tmp_path / "photo.png")
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(5, timeout=WAIT)


def test_embeddings(app, open_page, folder):
    page = open_tab(open_page(app), "Embeddings")
    page.set_input_files("#embeddings .folder", folder)
    canvas = "document.querySelector('#embeddings .map-canvas').photoMap"
    expect(page.locator("#embeddings .emb")).to_be_visible(timeout=WAIT)
    page.wait_for_function(f"{canvas}.positions && !{canvas}.moving", timeout=WAIT)
    assert page.evaluate(f"{canvas}.ids.length") == 12
    page.locator("#embeddings .map-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#embeddings .emb-name")).to_contain_text(".png", timeout=WAIT)
    check_access(page)
