"""The guided tour: through all tabs from an empty page, nothing covered, and the page as before at its end."""

import re

import pytest
import timm
from playwright.sync_api import Page, expect
from timm.models import save_for_hf

from tests.browser.test_classify import WAIT, give, serious

pytestmark = pytest.mark.browser
LONG = 180_000  # milliseconds: the first map loads a library
WATCHED = """() => [...document.querySelectorAll(".tour-lit")].map((part) => {
    const [box, card] = [part.getBoundingClientRect(), document.querySelector(".tour").getBoundingClientRect()];
    return box.width > 0 && box.top >= 0 && box.bottom <= card.top && box.left >= 0 && box.right <= innerWidth;
})"""


def on_show(page: Page) -> str:
    """Wait for a step. Returns: its title."""
    expect(page.locator(".tour")).to_have_attribute("aria-busy", "false", timeout=LONG)
    expect(page.locator(".tour-title")).to_be_focused()
    return page.locator(".tour-title").inner_text()


def start(page: Page) -> None:
    page.locator("#header").get_by_role("button", name="Tour").click()
    on_show(page)


def forward(page: Page) -> str:
    """Go to the next step. Returns: its title."""
    page.locator(".tour-next").click()
    return on_show(page)


def is_over(page: Page) -> None:
    expect(page.locator(".tour")).to_be_hidden()
    expect(page.locator("#attention.presenting")).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--tour')") == "0px"


@pytest.mark.parametrize(
    ("width", "height", "theme"),
    [
        (1280, 800, "light"),
        (390, 844, "dark"),
        pytest.param(1280, 800, "dark", marks=pytest.mark.slow),  # half a minute each
        pytest.param(390, 844, "light", marks=pytest.mark.slow),
    ],
)
def test_from_an_empty_page_to_its_end(demo_app, open_page, theme, width, height):
    page = open_page(demo_app, theme, width, height=height)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    start(page)
    titles, texts, found = [], [], []
    while True:
        page.wait_for_function(
            "document.getAnimations().every(({playState, effect}) => playState !== 'running' || effect.getTiming().iterations > 1)"
        )
        titles.append(on_show(page))
        texts.append(page.locator(".tour-text").inner_text())
        watched = page.evaluate(WATCHED)
        assert watched, titles[-1]
        assert all(watched), titles[-1]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found += serious(page)
        if "neighbours" in titles[-1]:  # which its text promises to be below the picture
            near, card = page.locator("#embeddings .emb-near img").first.bounding_box(), page.locator(".tour").bounding_box()
            assert near["y"] + near["height"] <= card["y"]
        if "falls" in titles[-1] or "decides" in titles[-1]:
            expect(page.locator("#attention .att-big strong").first).to_contain_text("→")
        if page.locator(".tour-next").inner_text() == "Done":
            break
        forward(page)
    assert found == []
    assert len(set(titles)) == 12
    assert texts[8].startswith("Here are 126 pictures. ")
    assert not re.search("undefined|NaN|null", " ".join([*titles, *texts]))
    page.locator(".tour-next").click()
    is_over(page)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    expect(page.get_by_role("tab", name="Classify")).to_have_attribute("aria-selected", "true")
    page.wait_for_function("scrollY === 0 && sessionStorage.length === 0")
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention .att-text")).to_contain_text("Drop a photo", timeout=WAIT)
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#embeddings .emb")).to_be_hidden()
    page.get_by_role("tab", name="Fine-tune").click()
    expect(page.locator("#finetune .data")).to_be_hidden()


def test_escape_gives_everything_back(demo_app, open_page, picture):
    page = open_page(demo_app)
    give(page, picture)
    expect(page.locator("#answer h2")).to_have_text("picture.png", timeout=WAIT)
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention")).to_have_attribute("data-state", "ready", timeout=WAIT)
    attention = page.locator("#attention")
    attention.get_by_role("button", name="Switch this head off").click()
    expect(attention.locator(".att-moves")).to_contain_text("With one head off", timeout=WAIT)
    attention.get_by_role("radio", name="Rollout").click()
    attention.locator(".att-layer").fill("2")
    attention.locator(".att-opacity").fill("80")
    title = attention.locator(".att-title").inner_text()
    assert re.search("Rollout · up to layer 2 .* · 1 head off", title)
    page.evaluate("scrollTo(0, 40)")
    guided = page.get_by_role("button", name="Guided tour")
    guided.evaluate("button => button.focus({preventScroll: true})")
    page.keyboard.press("Enter")
    on_show(page)
    titles = [forward(page) for _ in range(7)]
    expect(attention.locator(".att-title")).not_to_have_text(title)
    page.keyboard.press("ArrowLeft")
    assert on_show(page) == titles[-2]
    page.keyboard.press("ArrowRight")
    assert on_show(page) == titles[-1]
    page.keyboard.press("Escape")
    is_over(page)
    expect(attention.locator(".att-title")).to_have_text(title, timeout=WAIT)
    expect(attention.locator(".att-opacity-text")).to_have_text("80 %")
    expect(attention.locator(".att-name")).to_contain_text("picture.png")
    expect(guided).to_be_focused()
    page.wait_for_function("scrollY === 40")


def test_it_can_be_ended_while_it_waits(demo_app, open_page):
    page = open_page(demo_app, sample=True)
    expect(page.locator("#answer .says")).to_be_visible(timeout=WAIT)
    page.route("**/page/attention/ablate", lambda route: None)  # never answers
    page.locator("#answer").get_by_role("button", name="Take the tour").click()
    on_show(page)
    for _ in range(4):
        forward(page)
    page.locator(".tour-next").click()
    expect(page.locator(".tour .spinner")).to_be_visible()
    expect(page.locator(".tour-text")).to_contain_text("Switching off one head after another")
    page.locator(".tour-end").click()
    is_over(page)
    expect(page.locator("#answer .says")).to_be_visible()
    expect(page.locator("#answer .says")).to_be_in_viewport()


def test_under_reduced_motion_nothing_plays(demo_app, browser):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(demo_app.url)
    expect(page.locator("#answer .says")).to_be_visible(timeout=WAIT)
    start(page)
    forward(page)
    forward(page)
    last = page.locator("#attention .att-layer").get_attribute("max")
    expect(page.locator("#attention .att-layer-text")).to_have_text(f"{last} / {last}")
    expect(page.locator("#attention .att-play")).to_have_attribute("aria-pressed", "false")
    context.close()


def test_a_model_without_classes_has_the_other_steps(start_app, tmp_path, open_page):
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2)
    save_for_hf(model, tmp_path, model_config={"model_args": {"depth": 2}}, safe_serialization=True)
    page = open_page(start_app("--model", f"local-dir:{tmp_path}"))
    start(page)
    titles = [on_show(page)]
    while page.locator(".tour-next").inner_text() != "Done":
        titles.append(forward(page))
    assert titles[0] == "It cuts the photo into patches"
    assert not [title for title in titles if re.search("says|Why|head|right", title)]
    page.locator(".tour-next").click()
    is_over(page)
