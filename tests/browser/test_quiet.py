"""Ordinary use of all tabs leaves no error and no warning in the browser's console, and nothing asks for what is not there."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.pictures import noise, paint

pytestmark = pytest.mark.browser
WAIT = 90_000


@pytest.fixture
def page(app, open_page) -> tuple[Page, list[str]]:
    page, complaints = open_page(app), []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("response", lambda answer: complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    return page, complaints


def test_photos_and_galleries_in_all_tabs(page, tmp_path):
    page, complaints = page
    folder = paint(tmp_path / "colours", 3, 0)
    noise(40, 30).save(tmp_path / "photo.png")
    page.set_input_files("#photo input[type=file]", tmp_path / "photo.png")
    expect(page.locator("#answer h2")).to_have_text("photo.png", timeout=WAIT)
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#gallery .folder", folder)
    expect(page.locator("#gallery .run-text")).to_contain_text("Done: 9 of 9 photos", timeout=WAIT)
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator(".att-name")).to_contain_text("photo.png", timeout=WAIT)
    page.set_input_files(".att-pick", folder / "red" / "0.png")
    expect(page.locator(".att-name")).to_contain_text("0.png", timeout=WAIT)
    page.get_by_role("tab", name="Embeddings").click()
    page.set_input_files("#embeddings .folder", folder)
    expect(page.locator("#embeddings .run-text")).to_contain_text("Done: 9 of 9 photos", timeout=2 * WAIT)
    page.get_by_role("tab", name="Fine-tune").click()
    page.set_input_files("#finetune .folder", folder)
    expect(page.locator("#finetune .data h2")).to_have_text("3 classes", timeout=WAIT)
    page.get_by_role("tab", name="Export").click()
    page.set_input_files("#export .folder", folder)
    expect(page.locator("#export .exp-compared")).to_contain_text("9 photos", timeout=WAIT)
    assert complaints == []


def test_a_photo_from_the_camera(page):
    page, complaints = page
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.locator("#photo").get_by_label("capture photo").click()
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(5, timeout=WAIT)
    assert complaints == []
