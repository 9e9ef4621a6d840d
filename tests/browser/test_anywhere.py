"""Photos dropped or pasted anywhere on the page, and what is said of other files."""

import base64
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.pictures import paint, png

pytestmark = pytest.mark.browser
WAIT = 90_000

MOVE = """(target, [kind, files]) => {
    const transfer = new DataTransfer();
    const bytes = data => Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    for (const [name, data, type] of files) transfer.items.add(new File([bytes(data)], name, {type}));
    const how = {bubbles: true, cancelable: true};
    if (kind === "paste") return target.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, ...how}));
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, ...how}));
}"""


def move(page: Page, where: str, kind: str, *files: tuple[str, bytes, str]) -> None:
    """Drop files on a part of the page, or paste or only drag them there."""
    page.locator(where).first.evaluate(MOVE, [kind, [[name, base64.b64encode(data).decode(), type] for name, data, type in files]])


def photo(number: int = 0) -> tuple[str, bytes, str]:
    return f"{number}.png", png(40, 30, number), "image/png"


@pytest.fixture
def page(app, open_page) -> Page:
    page = open_page(app)
    expect(page.locator("#anywhere .veil")).to_be_attached(timeout=WAIT)
    expect(page.locator("#examples button").first).to_be_visible(timeout=WAIT)
    return page


def zipped(folder: Path) -> bytes:
    paint(folder / "colours", 3, 0)
    with zipfile.ZipFile(folder / "colours.zip", "w") as archive:
        for path in sorted((folder / "colours").rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    return (folder / "colours.zip").read_bytes()


def test_one_photo_on_the_header_is_answered(page):
    move(page, "h1", "dragenter", photo())
    expect(page.locator(".veil")).to_contain_text("Drop a photo anywhere")
    move(page, "h1", "drop", photo())
    expect(page.locator(".veil")).to_be_hidden()
    expect(page.locator("#answer h2")).to_have_text("0.png", timeout=WAIT)
    move(page, "h1", "drop", photo(1))  # over the first one
    expect(page.locator("#answer h2")).to_have_text("1.png", timeout=WAIT)


def test_a_pasted_photo_is_answered(page):
    move(page, "body", "paste", photo(2))
    expect(page.locator("#answer h2")).to_have_text("2.png", timeout=WAIT)


def test_several_photos_on_the_photo_box_go_to_many_photos(page):
    move(page, "#photo", "drop", photo(3), photo(4))
    expect(page.get_by_role("tab", name="Many photos")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".run-text:visible")).to_contain_text("Done: 2 of 2 photos", timeout=WAIT)


def test_text_on_the_photo_box_gets_our_sentence(page):
    move(page, "#photo", "drop", ("notes.txt", b"Hello", "text/plain"))
    expect(page.locator("#answer")).to_contain_text("“notes.txt” is not a photo that can be read here", timeout=WAIT)


@pytest.mark.parametrize("way", ["pick", "drop", "paste"])
def test_other_files_for_one_photo_get_our_sentence_or_the_gallery(page, tmp_path, way):
    def give(name: str, data: bytes, type: str) -> None:
        if way == "pick":
            page.set_input_files("#photo input[type=file]", {"name": name, "mimeType": type, "buffer": data})
        else:
            move(page, "#photo" if way == "drop" else "body", way, (name, data, type))

    give("notes.txt", b"Hello", "text/plain")
    expect(page.locator("#answer")).to_contain_text("“notes.txt” is not a photo that can be read here", timeout=WAIT)
    give("colours.zip", zipped(tmp_path), "application/zip")
    expect(page.get_by_role("tab", name="Many photos")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#gallery .run-text")).to_contain_text("Done: 9 of 9 photos", timeout=WAIT)
    expect(page.locator("[data-testid=toast-text]")).to_have_count(0)


@pytest.mark.parametrize("way", ["pick", "drop"])
def test_other_files_for_attention_get_our_sentence(page, tmp_path, way):
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator(".att-frame")).to_be_visible(timeout=WAIT)

    def give(name: str, data: bytes, type: str) -> None:
        if way == "pick":
            page.set_input_files(".att-pick", {"name": name, "mimeType": type, "buffer": data})
        else:
            move(page, ".att-frame", way, (name, data, type))

    give("notes.txt", b"Hello", "text/plain")
    expect(page.locator(".att-text")).to_contain_text("“notes.txt” is not a photo that can be read here", timeout=WAIT)
    give("colours.zip", zipped(tmp_path), "application/zip")
    expect(page.locator(".att-text")).to_contain_text("“colours.zip” is a zip archive, not a photo", timeout=WAIT)


def test_a_zip_goes_to_the_gallery_tab_that_is_open(page, tmp_path):
    page.get_by_role("tab", name="Fine-tune").click()
    expect(page.locator("#finetune .drop")).to_be_visible(timeout=WAIT)
    move(page, "h1", "dragenter", photo())
    expect(page.locator(".veil")).to_contain_text("Drop photos, a folder or a zip anywhere")
    move(page, "h1", "drop", ("colours.zip", zipped(tmp_path), "application/zip"))
    expect(page.locator("#finetune .data h2")).to_have_text("3 classes", timeout=WAIT)


def test_a_photo_that_is_too_large_is_told(start_app, bundle, open_page):
    server = start_app("--model", f"local-dir:{bundle}", "--max-upload-mb", "1", "--max-zip-mb", "1")
    page = open_page(server)
    expect(page.locator("#examples button").first).to_be_visible(timeout=WAIT)
    move(page, "h1", "drop", ("big.png", bytes(2 << 20), "image/png"))
    expect(page.locator(".veil-said")).to_have_text(
        "“big.png” is larger than 1 MB: leave it out, or save a smaller copy of it.", timeout=WAIT
    )
