"""A real browser on the real app: every test fails if a request leaves this machine or the page reports an error."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.apps import Server, app_processes

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

expect.set_options(timeout=20_000)  # milliseconds: another browser's tests may run on the same machine


@pytest.fixture(scope="session")
def browser():
    found = os.environ.get("VITDEMO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        message = "no Chromium found: install it (Debian: apt-get install chromium), or name one in VITDEMO_BROWSER"
        if os.environ.get("VITDEMO_BROWSER_REQUIRED"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def demo_app(tmp_path_factory, cache_dir) -> Iterator[Server]:
    """The app with the demo model, in a process of its own, for all tests."""
    with app_processes(tmp_path_factory, cache_dir) as start:
        yield start("--model", "demo")


@pytest.fixture
def open_page(browser):
    """open_page(server, theme="light", width=1280) → a fresh visitor's page, ready to use, without a photo unless a sample is asked for."""
    contexts, strangers, faults = [], [], []

    def visit(server, theme: str = "light", width: int = 1280, path: str = "/", height: int = 900, sample: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, permissions=["clipboard-read", "clipboard-write", "camera"]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("request", lambda request: strangers.append(request.url) if is_strange(request.url, server.url) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{server.url}{path}?__theme={theme}" + ("" if sample else "&photo=none"))
        page.locator("#photo input[type=file]").wait_for(state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert strangers == []
    assert faults == []


def is_strange(url: str, ours: str) -> bool:
    return not url.startswith((ours + "/", "data:", "blob:"))


def drop(page: Page, *files: Path) -> None:
    """Drop files onto the photo as a person's mouse would."""
    import base64

    payload = [{"name": each.name, "data": base64.b64encode(each.read_bytes()).decode()} for each in files]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const {name, data} of files) {
                const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
                const type = /\\.jpe?g$/i.test(name) ? "image/jpeg" : /\\.heic$/i.test(name) ? "" : "image/png"; // as on many systems
                transfer.items.add(new File([bytes], name, {type}));
            }
            return transfer;
        }""",
        payload,
    )
    page.locator("#photo button").filter(has_text="Drop").first.dispatch_event("drop", {"dataTransfer": transfer})
