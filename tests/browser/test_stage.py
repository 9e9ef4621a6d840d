"""The stage of the Attention tab: in sight on every screen, its filmstrip, presenter mode with its keys, and the words."""

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.test_attention import method, offer, visit
from tests.browser.test_classify import WAIT, serious
from tests.support.pictures import noise

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> dict:
    """A landscape, a square and a portrait photo of 1:3."""
    folder, sizes = tmp_path_factory.mktemp("shapes"), {"landscape": (900, 600), "square": (700, 700), "portrait": (400, 1200)}
    for name, (width, height) in sizes.items():
        noise(width // 50, height // 50).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in sizes}


@pytest.mark.parametrize("shape", ["landscape", "square", "portrait"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080), (390, 844)])
def test_map_scale_and_layers_are_in_sight(app, open_page, shapes, shape, width, height):
    page = open_page(app, width=width, height=height)
    page.get_by_role("tab", name="Attention").click()
    offer(page, shapes[shape])
    for part in ("heat", "scale", "lens", "layer", "play"):
        expect(page.locator(f"#attention .att-{part}")).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#attention .att-heat").bounding_box()
    assert box["width"] / box["height"] == pytest.approx({"landscape": 1.5, "square": 1, "portrait": 1 / 3}[shape], rel=0.02)


def painted(page: Page, layer: int) -> str:
    """The pixels of a tile of the filmstrip."""
    page.wait_for_timeout(150)  # it is painted once the map has stayed for a moment
    return page.locator("#attention .att-lens canvas").nth(layer - 1).evaluate("canvas => canvas.toDataURL()")


def test_the_filmstrip_by_mouse_and_keys(app, open_page, picture):
    page = visit(open_page, app, picture)
    tiles = page.locator("#attention .att-lens button")
    layers = tiles.count()
    expect(tiles.nth(layers - 1)).to_have_attribute("aria-pressed", "true")
    tiles.first.click()
    expect(page.locator("#attention .att-layer-text")).to_have_text(f"1 / {layers}")
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    expect(page.locator("#attention .att-title")).to_contain_text(f"layer 2 of {layers}")
    page.keyboard.press("End")
    expect(tiles.nth(layers - 1)).to_have_attribute("aria-pressed", "true")
    assert [tile for tile in range(layers) if tiles.nth(tile).get_attribute("tabindex") == "0"] == [layers - 1]  # one stop for Tab
    before = painted(page, 1)
    method(page, "Rollout")
    assert painted(page, 1) != before  # it shows the map on show
    shares = tiles.evaluate_all("tiles => tiles.map(tile => Number(tile.querySelector('i').style.getPropertyValue('--share')))")
    said = [tile.split(", ")[-1] for tile in tiles.evaluate_all("tiles => tiles.map(tile => tile.title)")]
    assert [f"{100 * share:.1f} %" for share in shares] == said


def test_the_filmstrip_by_touch(app, browser, picture):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(f"{app.url}/?photo=none")
    page.get_by_role("tab", name="Attention").click()
    offer(page, picture)
    page.locator("#attention .att-lens button").first.tap()
    expect(page.locator("#attention .att-layer-text")).to_contain_text("1 / ")
    context.close()


def test_presenter_mode_by_its_keys(app, open_page, picture):
    page = visit(open_page, app, picture)
    explorer, title = page.locator("#attention"), page.locator("#attention .att-title")
    page.keyboard.press("p")
    page.wait_for_function("Boolean(document.elementFromPoint(100, 30).closest('#attention'))")  # the header is covered
    expect(page.locator("#attention .att-side")).to_be_hidden()
    big = page.locator("#attention .att-big button")
    expect(big).to_have_count(5)
    names = big.locator("span").all_inner_texts()
    for part in ("heat", "lens", "layer", "big"):
        expect(page.locator(f"#attention .att-{part}")).to_be_in_viewport(ratio=0.99)
    size = float(page.locator("#attention .att-title").evaluate("title => parseFloat(getComputedStyle(title).fontSize)"))
    page.keyboard.press("ArrowLeft")
    expect(title).to_contain_text("layer 2 of 3")
    page.keyboard.press("3")
    expect(title).to_contain_text(f"What supports {names[2]}", timeout=WAIT)
    expect(big.nth(2)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("d")
    expect(title).to_contain_text(f"Why {names[2]}, and not {names[0]}", timeout=WAIT)
    page.keyboard.press("h")
    expect(page.locator("#attention .att-wall")).to_be_visible()
    expect(page.locator("#attention .att-stage")).to_be_hidden()
    page.keyboard.press("h")
    page.keyboard.press("e")
    expect(page.locator("#attention .att-conclusion")).to_be_visible(timeout=2 * WAIT)
    page.keyboard.press("e")
    page.keyboard.press("Space")
    expect(page.locator("#attention .att-play")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("?")
    expect(page.locator("#attention .att-keys")).to_be_visible()
    assert serious(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#attention .att-keys")).to_be_hidden()
    assert "presenting" in explorer.get_attribute("class")
    page.keyboard.press("Escape")
    expect(page.locator("#attention .att-side")).to_be_visible()
    page.keyboard.press("p")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(page.locator("#attention .att-play")).to_have_attribute("aria-pressed", "false", timeout=100)  # before it would end by itself
    assert size == pytest.approx(1.5 * float(title.evaluate("title => parseFloat(getComputedStyle(title).fontSize)")), rel=0.01)


def test_classes_are_chosen_while_the_map_is_of_none(app, open_page, picture):
    page = visit(open_page, app, picture)
    refused = []
    page.on("response", lambda response: refused.append(response.url) if response.status >= 400 else None)
    names = page.locator("#attention .att-big span").all_text_contents()
    page.locator("#attention [data-method=rollout]").click()
    page.keyboard.press("p")
    page.keyboard.press("3")
    page.keyboard.press("d")
    expect(page.locator("#attention .att-ledger-why")).to_contain_text(f"in logits for {names[2]}, and not {names[0]}.", timeout=WAIT)
    page.keyboard.press("Escape")
    page.locator("#attention [data-method=relevance]").click()
    expect(page.locator("#attention .att-title")).to_contain_text(f"Why {names[2]}, and not {names[0]}", timeout=WAIT)
    assert refused == []


def test_keys_act_neither_while_somebody_types_nor_once_they_are_off(app, open_page, picture):
    page = visit(open_page, app, picture)
    search = page.locator("#attention .att-search").first
    search.fill("p")
    search.press("p")
    expect(page.locator("#attention .att-side")).to_be_visible()
    page.get_by_role("button", name="Present").click()
    expect(page.locator("#attention .att-side")).to_be_hidden()
    page.keyboard.press("?")
    page.get_by_label("Keys of one letter act").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("h")
    expect(page.locator("#attention .att-wall")).to_be_hidden()
    page.get_by_role("button", name="Leave").click()
    page.locator("#attention .att-title").click()
    page.keyboard.press("p")
    expect(page.locator("#attention .att-side")).to_be_visible()


def test_a_word_is_explained_where_somebody_rests_on_it(app, open_page, picture):
    page = visit(open_page, app, picture)
    tip = page.locator("#attention .att-word-tip")
    for word, said in (
        ("[data-method=rollout]", "Rollout. Attention followed back"),
        ("summary[data-word=head]", "Head. One of several pairs of eyes"),
    ):
        page.locator(f"#attention {word}").hover()
        expect(tip).to_contain_text(said)
        expect(tip.locator("svg")).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.locator("#attention .att-words > summary").click()
    expect(page.locator("#attention .att-word")).to_have_count(8)


@pytest.mark.parametrize(
    ("tab", "part", "button"),
    [
        ("Embeddings", "#embeddings .emb", "See it with samples"),
        ("Fine-tune", "#finetune .plan", "See it with samples"),
    ],
)
def test_an_empty_tab_shows_what_it_will_look_like(app, open_page, tab, part, button):
    page = open_page(app)
    page.get_by_role("tab", name=tab).click()
    shown = page.locator(".soon").locator("visible=true")
    expect(shown).to_have_count(1)
    assert shown.locator("img").locator("visible=true").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1000
    page.get_by_role("button", name=button).click()
    expect(page.locator(part)).to_be_visible(timeout=4 * WAIT)
    expect(shown).to_have_count(0)
