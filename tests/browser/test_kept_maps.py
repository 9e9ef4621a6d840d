"""Maps of large collections that the operator keeps, opened in the Embeddings tab."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.embeddings.test_map_command import classified, embedded, photos  # noqa: F401 (fixtures)
from vitdemo.cli import main

pytestmark = pytest.mark.browser

pytest.importorskip("faiss")
WAIT = 120_000  # milliseconds


@pytest.fixture(scope="module")
def maps_app(start_app, embedded, classified, tmp_path_factory, cache_dir):  # noqa: F811
    folder = tmp_path_factory.mktemp("maps")
    asked = ["map", str(embedded), "--predictions", str(classified), "--sample", "150", "--cache-dir", str(cache_dir)]
    assert main([*asked, "--output", str(folder / "cats & <b>dogs</b>.html".replace("/", "∕"))]) == 0
    (folder / "broken.html").write_bytes(b"\xff\xfe\xff")
    return start_app("--model", "demo", "--maps-dir", str(folder))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_kept_map_opens_and_answers(maps_app, open_page, theme):
    page = open_page(maps_app, theme)
    page.get_by_role("tab", name="Embeddings").click()
    choice = page.get_by_role("button", name="cats &")
    expect(choice).to_have_text("cats & <b>dogs<∕b>")
    choice.click()
    frame = page.frame_locator("#embeddings .emb-kept iframe")
    expect(frame.locator(".page-facts")).to_contain_text(
        "laid out by 150 photos drawn at random, the other 150 placed among them", timeout=WAIT
    )
    expect(frame.locator(".map-legend")).to_contain_text("<b>cat</b>")
    ground = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert ground == {"light": "rgb(248, 250, 252)", "dark": "rgb(11, 18, 32)"}[theme]
    place = frame.locator(".map-canvas").evaluate("canvas => [canvas.photoMap.x[7], canvas.photoMap.y[7]]")
    frame.locator(".map-canvas").click(position={"x": place[0], "y": place[1]})
    expect(frame.locator(".page-photo")).to_be_visible()
    reached = frame.locator("body").evaluate("() => { try { return window.parent.document.title } catch { return null } }")
    assert reached is None  # the frame can reach nothing of the app's page
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]] == []
    choice.click()
    expect(page.locator("#embeddings .emb-kept iframe")).to_have_count(0)


def test_one_that_can_not_be_read(maps_app, open_page):
    page = open_page(maps_app)
    page.get_by_role("tab", name="Embeddings").click()
    page.get_by_role("button", name="broken").click()
    expect(page.locator("#embeddings .emb-kept-problem")).to_have_text("This map can't be read any more: tell the operator.")


def test_without_any_nothing_is_said(demo_app, open_page):
    page = open_page(demo_app)
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#embeddings .drop")).to_be_visible(timeout=WAIT)
    expect(page.locator("#embeddings .emb-kept")).to_have_count(0)
