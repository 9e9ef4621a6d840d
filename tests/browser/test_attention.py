"""What a person does in the Attention tab, and that the picture is the numbers."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence
from playwright.sync_api import Page, expect

from tests.browser.test_classify import WAIT
from vitdemo.attention.drawing import render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.ablation import ablate
from vitdemo.attention.methods.faithfulness import erase_curve, random_heat
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.core.inference.trace import trace

pytestmark = pytest.mark.browser

INSET = 16  # pixels of the canvas left out of a comparison: the frame that a download has and the canvas does not


@pytest.fixture(scope="module")
def known(vit, picture):
    """The picture's model input, its trace, and its geometry, by this project's science."""
    with Image.open(picture) as image:
        photo = image.convert("RGB")
    tensor = vit.preprocessing(photo)
    return tensor, trace(vit, tensor), vit.preprocessing.geometry(photo.size, vit.patch)


def visit(open_page, app, picture=None, theme="light", width=1280) -> Page:
    """The tab, with a photo."""
    page = open_page(app, theme, width)
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention .att-text")).to_contain_text("Drop a photo", timeout=WAIT)
    if picture:
        offer(page, picture)
    return page


def offer(page: Page, path) -> None:
    page.set_input_files("#attention .att-pick", path)
    expect(page.locator("#attention")).to_have_attribute("data-state", "ready", timeout=WAIT)
    expect(page.locator("#attention .att-name")).to_contain_text(path.name, timeout=WAIT)
    expect(page.locator("#attention .att-title")).not_to_contain_text("…")


def method(page: Page, name: str) -> None:
    page.locator("#attention .att-method").get_by_role("radio", name=name).click()


def slide(page: Page, control: str, value: float) -> None:
    page.locator(f"#attention .att-{control}").fill(str(value))
    settle(page)


def settle(page: Page) -> None:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def canvas(page: Page, name: str = "heat") -> np.ndarray:
    """(height, width, 3) uint8: what a canvas shows."""
    settle(page)
    data = page.locator(f"#attention .att-{name}").evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"))


def inside(pixels: np.ndarray, geometry) -> np.ndarray:
    """The crop, without its edge."""
    placed = replace(geometry, photo=(pixels.shape[1], pixels.shape[0]))
    left, top, right, bottom = render.crop_pixels(placed)
    return pixels[top + INSET : bottom - INSET, left + INSET : right - INSET].astype(int)


def check(page: Page, heat, geometry, *, colours="inferno", opacity=0.85, smooth=True, span=None, off=2, bare=None) -> None:
    """The canvas shows this map: the same colours as the downloads', drawn on the photo's pixels as the page has them."""
    shown = canvas(page)
    if bare is None:
        bare = bare_photo(page, opacity)
    drawn = render.overlay(Image.fromarray(bare), np.asarray(heat), geometry, render.OverlayStyle(colours, opacity, smooth), span=span)
    away = np.abs(inside(shown, geometry) - inside(np.asarray(drawn), geometry))
    assert (away > off).mean() < 0.002, f"{(away > off).mean():.4f} of the pixels differ, by up to {away.max()}"


def bare_photo(page: Page, opacity: float) -> np.ndarray:
    slide(page, "opacity", 0)
    pixels = canvas(page)
    slide(page, "opacity", 100 * opacity)
    return pixels


def point(page: Page, geometry, row: int, column: int) -> None:
    """Move the mouse onto a patch."""
    box = page.locator("#attention .att-heat").bounding_box()
    left, top, right, bottom = geometry.patch_box(row, column)
    x = box["x"] + (left + right) / 2 / geometry.photo[0] * box["width"]
    y = box["y"] + (top + bottom) / 2 / geometry.photo[1] * box["height"]
    page.mouse.move(x, y)
    settle(page)


class Requests:
    """The requests that a page makes while the context is open."""

    def __init__(self, page: Page):
        self.page, self.urls = page, []

    def _note(self, request) -> None:
        if not request.url.startswith(("data:", "blob:")) and "heartbeat" not in request.url:
            self.urls.append(request.url)

    def __enter__(self):
        self.page.on("request", self._note)
        return self

    def __exit__(self, *_):
        self.page.wait_for_timeout(300)  # a request that should not be made has no event to wait for
        self.page.remove_listener("request", self._note)


def test_hover_and_hold_show_what_a_patch_looks_at(app, open_page, picture, known):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    bare = bare_photo(page, 0.85)
    page.locator("#attention .att-caption").scroll_into_view_if_needed()
    with Requests(page) as made:
        point(page, geometry, 4, 9)
        expect(page.locator("#attention .att-title")).to_contain_text("What the patch in row 5, column 10 looks at · layer 3 of 3")
        check(page, maps.looks_at(traced, 3, (4, 9)), geometry, bare=bare)
        point(page, geometry, 10, 2)
        check(page, maps.looks_at(traced, 3, (10, 2)), geometry, bare=bare)
        page.mouse.down()
        page.mouse.up()
        page.mouse.move(2, 2)
        expect(page.locator("#attention .att-hint")).to_contain_text("Held")
        page.get_by_role("radio", name="is looked at by").click()
        expect(page.locator("#attention .att-title")).to_contain_text("is looked at by")
        check(page, maps.looked_at_by(traced, 3, (10, 2)), geometry, bare=bare)
        page.locator("#attention .att-heat").focus()
        page.keyboard.press("Escape")
        expect(page.locator("#attention .att-title")).to_contain_text("What supports")
    assert made.urls == []


def test_one_heads_attention_comes_when_it_is_needed(app, open_page, picture, known):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    method(page, "CLS")
    page.get_by_label("Head", exact=True).select_option("2")
    check(page, maps.cls_map(traced, layer=3, head=2), geometry)
    bare = bare_photo(page, 0.85)
    page.locator("#attention .att-caption").scroll_into_view_if_needed()
    with page.expect_response(re.compile("head-2.bin")):
        point(page, geometry, 6, 6)
    check(page, maps.looks_at(traced, 3, (6, 6), 2), geometry, bare=bare)


def test_the_keyboard_does_what_the_mouse_does(app, open_page, picture, known):
    _, traced, _ = known
    page = visit(open_page, app, picture)
    page.locator("#attention .att-heat").focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):  # the first shows the middle
        page.keyboard.press(key)
    expect(page.locator("#attention .att-title")).to_contain_text("row 8, column 6 looks at")
    most = int(maps.looks_at(traced, 3, (7, 5)).argmax())
    expect(page.locator("#attention .att-said")).to_contain_text(f"looks most at row {most // 14 + 1}, column {most % 14 + 1}")
    page.keyboard.press("Enter")
    expect(page.locator("#attention .att-said")).to_contain_text("Held: the patch in row 8, column 6")
    page.keyboard.press("PageDown")
    expect(page.locator("#attention .att-layer-text")).to_have_text("2 / 3")
    page.keyboard.press("Tab")
    expect(page.locator("#attention .att-title")).to_contain_text("row 8, column 6")  # held
    page.locator("#attention .att-method [aria-checked=true]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#attention .att-method").get_by_role("radio", name="Rollout")).to_have_attribute("aria-checked", "true")
    page.locator("#attention .att-tile[data-layer='3'][data-head='0']").focus()  # as a screen reader's own cursor may
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#attention .att-open-title")).to_have_text("Layer 2, head 1")


def test_layers_colours_and_opacity_need_no_request(app, open_page, picture, known):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    with Requests(page) as made:
        method(page, "CLS")
        slide(page, "layer", 2)
        expect(page.locator("#attention .att-layer-text")).to_have_text("2 / 3")
        check(page, maps.cls_map(traced, layer=2), geometry)
        method(page, "Rollout")
        slide(page, "layer", 1)
        check(page, maps.rollout(traced, layer=1), geometry)
        slide(page, "opacity", 80)
        page.get_by_label("Colours").select_option("viridis")
        check(page, maps.rollout(traced, layer=1), geometry, colours="viridis", opacity=0.8)
        page.get_by_label("Smooth").uncheck()
        check(page, maps.rollout(traced, layer=1), geometry, colours="viridis", opacity=0.8, smooth=False)
        page.get_by_label("Even out peaks").check()
        check(page, render.without_peaks(maps.rollout(traced, layer=1)), geometry, colours="viridis", opacity=0.8, smooth=False)
        low, high = page.locator("#attention .att-low").inner_text(), page.locator("#attention .att-high").inner_text()
        assert float(low) == pytest.approx(float(maps.rollout(traced, layer=1).min()), rel=0.05)
        assert float(high.removeprefix("≥ ")) == pytest.approx(float(render.without_peaks(maps.rollout(traced, layer=1)).max()), rel=0.05)
        slide(page, "split", 40)
        expect(page.locator("#attention .att-heat")).to_have_css("clip-path", "inset(0px 0px 0px 40%)")
        page.get_by_label("Patch grid").check()
        expect(page.locator("#attention .att-grid").last).to_have_attribute("d", re.compile("^(M[^M]+){26}$"))
    assert made.urls == []


def test_a_choice_stays_marked_under_the_mouse(app, open_page, picture):
    page = visit(open_page, app, picture)
    method(page, "CLS")  # and the mouse stays on it
    chosen = page.locator("#attention .att-method").get_by_role("radio", name="CLS")
    ground, ink = chosen.evaluate("each => [getComputedStyle(each).backgroundColor, getComputedStyle(each).color]")
    assert [ground, ink] == ["rgb(15, 118, 110)", "rgb(255, 255, 255)"]


def test_play_goes_through_the_layers(app, open_page, picture):
    page = visit(open_page, app, picture)
    method(page, "CLS")
    with Requests(page) as made:
        page.get_by_role("button", name="Play through the layers").click()
        expect(page.locator("#attention .att-layer-text")).to_have_text("1 / 3")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        expect(page.locator("#attention .att-layer-text")).to_have_text("2 / 3")
        expect(page.locator("#attention .att-layer-text")).to_have_text("3 / 3")
        expect(page.get_by_role("button", name="Play through the layers")).to_be_visible()
    assert made.urls == []


def test_the_lens_names_the_leading_class_after_each_layer(app, open_page, picture, known, vit, engine):
    from vitdemo.attention.methods.heads import logit_lens

    _, traced, _ = known
    page = visit(open_page, app, picture)
    chances = logit_lens(traced, vit, engine).softmax(-1)
    for layer in (1, 2, 3):
        slide(page, "layer", layer)
        best = int(chances[layer - 1].argmax())
        expect(page.locator("#attention .att-lens-text strong")).to_have_text(vit.labels[best].name)
        expect(page.locator("#attention .att-lens-text")).to_contain_text(f"{100 * float(chances[layer - 1, best]):.1f} %")


def test_relevance_for_a_class_and_against_another(app, open_page, picture, known, vit, engine):
    tensor, traced, geometry = known
    order = traced.logits.argsort(descending=True).tolist()
    heats = [maps.relevance(traced, attention_gradient(vit, engine, tensor, each)) for each in order[:2]]
    page = visit(open_page, app, picture)
    check(page, heats[0], geometry)
    chips = page.locator("#attention .att-picker[data-role=target] .att-chip")
    expect(chips).to_have_count(5)
    chips.nth(1).click()
    expect(page.locator("#attention .att-title")).to_contain_text(f"What supports {vit.labels[order[1]].name}")
    expect(page.locator("#attention .att-unit")).to_have_text(f"relevance for {vit.labels[order[1]].name}, no unit")
    check(page, heats[1], geometry)

    search = page.get_by_label("Search a class")
    last = vit.labels[order[-1]]
    search.press_sequentially("a")
    found = page.locator("#attention .att-picker[data-role=target] .att-found button")
    expect(found.nth(1)).to_be_visible()
    for key in ("ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(found.nth(1)).to_be_focused()
    page.keyboard.press("Escape")
    expect(search).to_be_focused()
    expect(found).to_have_count(0)
    search.fill(last.name)
    found.first.click()
    expect(page.locator("#attention .att-title")).to_contain_text(f"What supports {last.name}")
    expect(chips).to_have_count(6)
    check(page, maps.relevance(traced, attention_gradient(vit, engine, tensor, last.index)), geometry)

    chips.nth(0).click()
    page.get_by_text("Why this, and not").click()
    page.locator("#attention .att-picker[data-role=other] .att-chip").first.click()
    expect(page.locator("#attention .att-title")).to_contain_text("Why ")
    expect(page.locator("#attention .att-third")).to_have_count(3)
    names = [vit.labels[index].name for index in order[:2]]
    expect(page.locator("#attention .att-unit")).to_have_text(f"{names[1]} ← relevance, no unit → {names[0]}")
    difference = (heats[0] - heats[1]).numpy()
    check(page, difference, geometry, colours=render.DIFFERENCE, span=render.even_span(difference))
    page.locator("#attention .att-third").nth(1).click()
    check(page, heats[1], geometry)

    slide(page, "layer", 2)  # the small ones go along
    small = page.locator("#attention .att-third canvas").nth(1)
    pixels = np.array(small.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 14, 14).data]")).reshape(14, 14, 4)[..., :3]
    second = maps.relevance(traced, attention_gradient(vit, engine, tensor, order[1]), layer=2).numpy()
    level = np.rint(255 * (second - second.min()) / (second.max() - second.min())).astype(int)
    assert (np.abs(pixels - render.lookup_table("inferno")[level].astype(int)).max(-1) > 4).mean() < 0.02


def test_the_title_is_of_the_map_that_is_drawn(app, open_page, picture, vit, known):
    _, traced, _ = known
    first, second = (vit.labels[index].name for index in traced.logits.argsort(descending=True)[:2].tolist())
    page = visit(open_page, app, picture)
    title, waiting = page.locator("#attention .att-title"), []
    expect(title).to_contain_text(f"What supports {first}")
    before = canvas(page)
    page.route("**/page/attention/**", lambda route: waiting.append(route))
    page.locator("#attention .att-picker[data-role=target] .att-chip").nth(1).click()
    expect(page.locator("#attention .att-badge")).to_be_visible()  # says that it is at work
    assert np.array_equal(canvas(page), before)
    expect(title).to_contain_text(f"What supports {first}")
    (route,) = waiting
    route.continue_()
    expect(title).to_contain_text(f"What supports {second}", timeout=WAIT)
    assert not np.array_equal(canvas(page), before)


def test_a_head_opens_and_is_switched_off(app, open_page, picture, known, vit, engine):
    tensor, traced, _ = known
    page = visit(open_page, app, picture)
    tiles = page.locator("#attention .att-tile")
    expect(tiles).to_have_count(9)
    page.locator('.att-tile[data-layer="2"][data-head="1"]').click()
    expect(page.locator("#attention .att-open-title")).to_have_text("Layer 2, head 1")
    tint = page.locator('.att-tile[data-layer="2"][data-head="1"] canvas')
    pixels = np.array(tint.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 14, 14).data]")).reshape(14, 14, 4)
    heat = maps.cls_attention(traced)[1, 1].numpy()
    bright, share = pixels[..., :3].sum(-1), np.sqrt(heat / heat.max())
    np.testing.assert_allclose(bright / bright.max(), share, atol=0.02)
    page.locator("#attention .att-tint").get_by_role("radio", name="distance").click()
    expect(page.locator("#attention .att-tint-high")).to_contain_text("px")

    large = canvas(page, "large")
    page.get_by_label("Colours").select_option("viridis")  # goes for the opened head, too
    assert np.abs(canvas(page, "large").astype(int) - large).max() > 40

    page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("With one head off", timeout=WAIT)
    moves = ablate(vit, engine, tensor, [(2, 1)]).moves
    expected = [f"{shown(each.before)} → {shown(each.after)}" for each in moves]
    assert page.locator("#attention .att-move-text").all_inner_texts() == expected
    expect(page.locator('.att-tile[data-layer="2"][data-head="1"]')).to_have_class(re.compile("off"))
    page.get_by_role("button", name="All heads on").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("The answer with all heads")
    page.get_by_role("button", name="Show on the photo").click()
    expect(page.locator("#attention .att-title")).to_contain_text("What CLS looks at · layer 2 of 3 · head 1")


def shown(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def test_the_erase_test_and_its_slider(app, open_page, picture, known, vit, engine):
    tensor, traced, geometry = known
    target = int(traced.logits.argmax())
    heat = maps.relevance(traced, attention_gradient(vit, engine, tensor, target))
    curves = {"map": erase_curve(vit, engine, tensor, heat, target, steps=14)}
    curves["random"] = erase_curve(vit, engine, tensor, random_heat(traced.grid, 0), target, steps=14)
    page = visit(open_page, app, picture)
    page.get_by_role("button", name="Test the map on show").click()
    expect(page.locator("#attention .att-erase-text")).to_contain_text("Tested: What supports", timeout=2 * WAIT)
    expect(page.locator("#attention .att-chart .curve")).to_have_count(3)
    with Requests(page) as made:
        for step in (0, 5, 14):
            slide(page, "k", step)
            expect(page.locator("#attention .att-k-text")).to_have_text(f"{14 * step} of 196")
            for name, curve in curves.items():
                text = page.locator(f"#attention .att-erased-{name}-text strong").inner_text()
                assert abs(float(re.sub(r"[^\d.]", "", text)) - 100 * curve.deletion[step]) < 0.11
    assert made.urls == []
    slide(page, "k", 5)
    pixels = canvas(page, "erased-map")
    gone = heat.flatten().argsort(descending=True, stable=True)[:70].tolist()
    for index in range(196):
        left, top, right, bottom = geometry.patch_box(*divmod(index, 14))
        x = int((left + right) / 2 / geometry.photo[0] * pixels.shape[1])
        y = int((top + bottom) / 2 / geometry.photo[1] * pixels.shape[0])
        assert (pixels[y, x].tolist() == [128, 128, 128]) == (index in gone)


def test_downloads_are_what_is_shown(app, open_page, picture, known, vit, monkeypatch):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    method(page, "CLS")
    slide(page, "layer", 2)
    slide(page, "opacity", 70)
    page.get_by_label("Colours").select_option("magma")
    heat = maps.cls_map(traced, layer=2)

    overlay = take(page, "Overlay", "picture-cls-overlay.png")
    with Image.open(picture) as photo:
        expected = render.overlay(photo.convert("RGB"), heat, geometry, render.OverlayStyle("magma", 0.7))
    assert np.array_equal(np.asarray(Image.open(overlay).convert("RGB")), np.asarray(expected))
    frames = list(ImageSequence.Iterator(Image.open(take(page, "GIF", "picture-cls-layers.gif"))))
    assert len(frames) == 3
    assert Image.open(take(page, "WebP", "picture-cls-layers.webp")).n_frames == 3
    assert Image.open(take(page, "All layers", "picture-cls-layers.png")).width > 600
    with np.load(take(page, "NPZ", "picture-cls-maps.npz")) as numbers:
        np.testing.assert_allclose(numbers["heat"], heat, atol=1e-6)
        np.testing.assert_allclose(numbers["attention_cls"], maps.cls_attention(traced), atol=1e-6)
        np.testing.assert_allclose(numbers["box"], geometry.box)


def take(page: Page, name: str, filename: str):
    """A download's path, once it has come under this name."""
    with page.expect_download() as coming:
        page.locator("#attention .att-downloads").get_by_role("button", name=name, exact=True).click()
    assert coming.value.suggested_filename == filename
    return coming.value.path()


def test_copied_python_gives_the_map_shown(app, open_page, picture, known, bundle, monkeypatch):
    import timm

    _, traced, _ = known
    page = visit(open_page, app, picture)
    method(page, "Rollout")
    slide(page, "layer", 2)
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.locator("#attention .att-took")).to_contain_text("Copied")
    text = page.evaluate("navigator.clipboard.readText()")
    monkeypatch.chdir(bundle.parent)
    found = {}
    try:
        exec(text.replace(repr(picture.name), repr(str(picture))), found)
    finally:
        timm.layers.set_fused_attn(True)
    np.testing.assert_allclose(found["heat"], maps.rollout(traced, layer=2), atol=1e-6)
