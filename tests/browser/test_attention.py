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
from vitdemo.attention.methods import heads, maps
from vitdemo.attention.methods.ablation import moves, without_heads
from vitdemo.attention.methods.faithfulness import centre_prior, conclusion, erase_curve, random_heat
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
    return pixels_of(page.locator(f"#attention .att-{name}"))


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
        read(page, maps.looks_at(traced, 3, (4, 9)).numpy(), 4, 9)
        point(page, geometry, 10, 2)
        check(page, maps.looks_at(traced, 3, (10, 2)), geometry, bare=bare)
        page.mouse.down()
        page.mouse.up()
        page.mouse.move(2, 2)
        expect(page.locator("#attention .att-hint")).to_contain_text("Held")
        expect(page.locator("#attention .att-tip")).to_be_hidden()
        expect(page.locator("#attention .att-needle")).to_be_hidden()
        page.get_by_role("radio", name="is looked at by").click()
        expect(page.locator("#attention .att-title")).to_contain_text("is looked at by")
        check(page, maps.looked_at_by(traced, 3, (10, 2)), geometry, bare=bare)
        page.locator("#attention .att-caption").scroll_into_view_if_needed()
        point(page, geometry, 3, 3)  # the map of the held patch stays, and tells its value there
        expect(page.locator("#attention .att-title")).to_contain_text("What the patch in row 11, column 3 is looked at by")
        read(page, maps.looked_at_by(traced, 3, (10, 2)).numpy(), 3, 3)
    assert made.urls == []


def read(page: Page, values: np.ndarray, row: int, column: int, low=None, high=None) -> None:
    """The tooltip, and the needle on the colour bar, tell this patch's value in the map."""
    value, low, high = values[row, column], values.min() if low is None else low, values.max() if high is None else high
    rank = 1 + int((values > value).sum())
    place, number, order = page.locator("#attention .att-tip").inner_text().split(" · ")
    assert (place, order) == (f"row {row + 1}, column {column + 1}", f"{rank}{suffix(rank)} of {values.size}")
    assert float(number.replace("−", "-")) == pytest.approx(float(value), rel=0.06)
    needle, bar = (page.locator(f"#attention .att-{name}").bounding_box() for name in ("needle", "bar"))
    assert needle["x"] + needle["width"] / 2 == pytest.approx(bar["x"] + bar["width"] * (value - low) / (high - low), abs=1.5)


def suffix(rank: int) -> str:
    return "th" if rank // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")


def test_the_maps_own_values_are_read_where_the_map_stays(app, open_page, picture, known):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    method(page, "Rollout")
    page.get_by_role("radio", name="value").click()
    before = canvas(page)
    page.locator("#attention .att-caption").scroll_into_view_if_needed()
    point(page, geometry, 6, 12)
    expect(page.locator("#attention .att-title")).to_have_text("Rollout · up to layer 3 of 3")
    rollouts = maps.rollouts(traced).numpy()
    read(page, rollouts[2], 6, 12)
    assert np.array_equal(canvas(page), before)
    page.mouse.down()
    page.mouse.up()
    text = page.locator("#attention .att-tip").inner_text()
    page.mouse.move(2, 2)
    expect(page.locator("#attention .att-tip")).to_have_text(text)  # held
    expect(page.locator("#attention .att-said")).to_have_text(text)


def test_a_locked_scale_goes_for_all_layers(app, open_page, picture, known, vit):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    method(page, "Rollout")
    own = ends(page)
    bare = bare_photo(page, 0.85)
    page.get_by_label("Lock scale").check()
    expect(page.locator("#attention .att-unit")).to_have_text("share of attention, rolled out, one scale for all layers")
    rollouts = maps.rollouts(traced).numpy()
    span = render.span_of(rollouts)
    for layer in (3, 1):
        slide(page, "layer", layer)
        assert ends(page) == pytest.approx(span, rel=0.05)
        check(page, rollouts[layer - 1], geometry, span=span, bare=bare)
    page.get_by_role("radio", name="value").click()
    page.locator("#attention .att-caption").scroll_into_view_if_needed()
    point(page, geometry, 2, 5)
    read(page, rollouts[0], 2, 5, *span)
    overlay = Image.open(take(page, "Overlay", f"picture-{vit.name}-rollout-layer-1-overlay.png")).convert("RGB")
    with Image.open(picture) as photo:
        expected = render.overlay(photo.convert("RGB"), rollouts[0], geometry, span=span)
    assert np.array_equal(np.asarray(overlay), np.asarray(expected))
    page.get_by_label("Lock scale").uncheck()
    slide(page, "layer", 3)
    assert ends(page) == own != pytest.approx(span, rel=0.05)


def ends(page: Page) -> tuple[float, float]:
    """The numbers at the ends of the colour bar."""
    settle(page)
    low, high = (float(page.locator(f"#attention .att-{end}").inner_text().replace("−", "-")) for end in ("low", "high"))
    return low, high


def test_escape_lets_go_from_anywhere_but_where_it_closes_something(app, open_page, picture, known):
    _, _, geometry = known
    page = visit(open_page, app, picture)
    title = page.locator("#attention .att-title")

    def hold() -> None:
        page.locator("#attention .att-caption").scroll_into_view_if_needed()
        point(page, geometry, 10, 2)
        page.mouse.down()
        page.mouse.up()
        page.mouse.move(2, 2)
        expect(title).to_contain_text("What the patch in row 11, column 3")

    for leave in (
        lambda: page.locator("#attention .att-tile").last.focus(),
        lambda: page.locator("#attention .att-layer").focus(),
        lambda: page.evaluate("document.activeElement.blur()"),
    ):
        hold()
        leave()
        page.keyboard.press("Escape")
        expect(title).to_contain_text("What supports")
    hold()
    page.get_by_label("Search a class").fill("a")
    page.keyboard.press("Escape")  # of the field
    settle(page)
    expect(title).to_contain_text("What the patch in row 11, column 3")
    page.evaluate("document.activeElement.blur(); document.body.insertAdjacentHTML('beforeend', '<dialog open></dialog>')")
    page.keyboard.press("Escape")  # of the dialog
    settle(page)
    expect(title).to_contain_text("What the patch in row 11, column 3")
    page.evaluate("document.querySelector('dialog').remove()")
    page.get_by_role("button", name="Guided tour").click()
    expect(page.locator(".tour")).to_have_attribute("aria-busy", "false", timeout=WAIT)
    page.locator(".tour-next").click()
    expect(page.locator("#attention.presenting")).to_be_visible(timeout=WAIT)
    page.keyboard.press("Escape")  # ends the tour, which gives back what was held
    expect(page.locator("#attention.presenting")).to_have_count(0)
    settle(page)
    expect(title).to_contain_text("What the patch in row 11, column 3")
    page.keyboard.press("Escape")
    expect(title).to_contain_text("What supports")


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
    rank = 1 + int((maps.looks_at(traced, 3, (7, 5)) > maps.looks_at(traced, 3, (7, 5))[7, 5]).sum())
    expect(page.locator("#attention .att-said")).to_contain_text(
        re.compile(rf"Here: row 8, column 6 · \S+ · {rank}{suffix(rank)} of 196\.$")
    )
    page.keyboard.press("ArrowRight")  # the map of the held patch stays, and is read beside it
    expect(page.locator("#attention .att-said")).to_contain_text("row 8, column 7 · ")
    expect(page.locator("#attention .att-title")).to_contain_text("row 8, column 6 looks at")
    page.keyboard.press("PageDown")
    expect(page.locator("#attention .att-layer-text")).to_have_text("2 / 3")
    page.keyboard.press("Tab")
    expect(page.locator("#attention .att-title")).to_contain_text("row 8, column 6")  # held
    page.locator("#attention .att-method [aria-checked=true]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#attention .att-method").get_by_role("radio", name="Votes")).to_have_attribute("aria-checked", "true")
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
    assert len(waiting) == 2  # the map and the votes
    for route in waiting:
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
    page.locator("#attention .att-tint").get_by_role("radio", name="distance").click()
    expect(page.locator("#attention .att-tint-high")).to_contain_text("px")

    large = canvas(page, "large")
    page.get_by_label("Colours").select_option("viridis")  # goes for the opened head, too
    assert np.abs(canvas(page, "large").astype(int) - large).max() > 40

    page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("With one head off", timeout=WAIT)
    without = trace(without_heads(vit, [(2, 1)]), tensor)
    expected = [f"{shown(each.before)} → {shown(each.after)}" for each in moves(vit, traced.logits, without.logits)]
    assert page.locator("#attention .att-move-text").all_inner_texts() == expected
    expect(page.locator('.att-tile[data-layer="2"][data-head="1"]')).to_have_class(re.compile("off"))
    page.get_by_role("button", name="All heads on").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("The answer with all heads")
    expect(page.locator("#attention .att-off-why")).to_be_hidden()
    expect(page.locator("#attention .att-title")).not_to_contain_text(" off")
    page.get_by_role("button", name="Show on the photo").click()
    expect(page.locator("#attention .att-title")).to_contain_text("What CLS looks at · layer 2 of 3 · head 1")


def test_the_whole_tab_is_of_the_model_without_the_heads_that_are_off(app, open_page, picture, known, vit, engine, bundle):
    tensor, _, geometry = known
    page = visit(open_page, app, picture)
    bare = bare_photo(page, 0.85)
    for layer, head in ((1, 2), (2, 1)):
        page.locator(f'.att-tile[data-layer="{layer}"][data-head="{head}"]').click()
        page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("With 2 heads off", timeout=WAIT)
    without = without_heads(vit, [(1, 2), (2, 1)])
    traced = trace(without, tensor)
    top = traced.logits.softmax(-1).topk(5)
    target = int(trace(vit, tensor).logits.argmax())
    expect(page.locator("#attention .att-title")).to_have_text(
        f"What supports {vit.labels[target].name} · up to layer 3 of 3 · 2 heads off"
    )
    expect(page.locator("#attention .att-off-why")).to_contain_text("This whole tab is without the heads struck out.")
    expect(page.locator("#attention .att-head-why")).to_contain_text("still count the heads that are off")
    chips = page.locator("#attention .att-picker[data-role=target] .att-chip small").all_inner_texts()
    assert chips == [shown(share) for share in top.values.tolist()]
    expect(page.locator("#attention .att-lens-text strong")).to_have_text(vit.labels[int(top.indices[0])].name)
    expect(page.locator("#attention .att-lens-text")).to_contain_text(shown(float(top.values[0])))
    relevance = maps.relevance(traced, attention_gradient(without, engine, tensor, target))
    check(page, relevance, geometry, bare=bare)
    method(page, "Rollout")
    check(page, maps.rollout(traced), geometry, bare=bare)
    with np.load(take(page, "NPZ", f"picture-{vit.name}-rollout-without-2-heads-maps.npz")) as numbers:
        np.testing.assert_allclose(numbers["logits"], traced.logits, atol=1e-5)
        np.testing.assert_allclose(numbers["heat"], maps.rollout(traced), atol=1e-6)
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.locator("#attention .att-took")).to_contain_text("Copied")
    assert "for layer, head in [(1, 2), (2, 1)]:" in page.evaluate("navigator.clipboard.readText()")
    painted(page, traced, geometry, 3, 0)
    page.get_by_role("button", name="Test the map on show").click()
    expect(page.locator("#attention .att-erase-text")).to_have_text("Tested: Rollout · up to layer 3 of 3 · 2 heads off", timeout=2 * WAIT)
    curve = erase_curve(without, engine, tensor, maps.rollout(traced), target, steps=14)
    slide(page, "k", 3)
    expect(page.locator("#attention .att-erased-map-text strong")).to_have_text(shown(curve.deletion[3]))
    expect(page.locator("#attention .att-believe-model")).to_have_text("Compared on the model with 2 heads off.")
    page.get_by_role("button", name="All heads on").click()
    expect(page.locator("#attention .att-title")).to_have_text("Rollout · up to layer 3 of 3")
    expect(page.locator("#attention .att-believe-model")).to_be_hidden()
    expect(page.locator("#attention .att-erase-row")).to_be_hidden()  # of another model


def test_a_head_stays_on_where_the_server_does_not_answer(app, open_page, picture):
    page = visit(open_page, app, picture)
    page.route("**/page/attention/ablate", lambda route: route.abort())
    page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-problem")).to_contain_text("The server does not answer")
    expect(page.get_by_role("button", name="Switch this head off")).to_be_visible()
    expect(page.locator("#attention .att-tile.off")).to_have_count(0)
    expect(page.locator("#attention .att-moves")).not_to_have_attribute("aria-busy", "true")
    page.unroute("**/page/attention/ablate")
    page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("With one head off", timeout=WAIT)
    expect(page.locator("#attention .att-problem")).to_be_hidden()


def painted(page: Page, traced, geometry, layer: int, head: int, colours="inferno", opacity=0.85) -> None:
    """A tile of the wall shows its head's CLS attention as the downloads would draw it over the crop."""
    tile = page.locator(f'#attention .att-tiles:not([aria-busy]) .att-tile[data-layer="{layer}"][data-head="{head}"] canvas')
    slide(page, "opacity", 0)
    bare = pixels_of(tile)
    slide(page, "opacity", 100 * opacity)
    shown = pixels_of(tile).astype(int)
    scale = bare.shape[1] / (geometry.box[2] - geometry.box[0])
    photo = Image.new("RGB", tuple(round(side * scale) for side in geometry.photo))
    corner = render.crop_pixels(replace(geometry, photo=photo.size))
    photo.paste(Image.fromarray(bare), corner[:2])
    heat = maps.cls_map(traced, layer=layer, head=head)
    drawn = render.overlay(photo, heat, geometry, render.OverlayStyle(colours, opacity)).crop(corner)
    assert drawn.size == bare.shape[1::-1]
    away = np.abs(shown - np.asarray(drawn).astype(int))[2:-2, 2:-2]  # without the frame of a download
    assert (away > 2).mean() < 0.002, f"{(away > 2).mean():.4f} of the pixels differ, by up to {away.max()}"
    assert np.abs(shown - bare).max() > 40


def test_the_wall_is_painted_as_the_stage_and_numbered(app, open_page, picture, known):
    _, traced, geometry = known
    page = visit(open_page, app, picture)
    for layer, head in ((1, 0), (2, 1), (3, 2)):
        painted(page, traced, geometry, layer, head)
    page.get_by_label("Colours").select_option("viridis")
    painted(page, traced, geometry, 2, 0, "viridis", 0.6)
    wall = page.locator("#attention .att-tiles")
    assert wall.get_by_role("columnheader").all_inner_texts() == ["0", "1", "2"]
    assert wall.get_by_role("rowheader").all_inner_texts() == ["1", "2", "3"]
    for number in range(3):  # above the tiles of their heads, and beside those of their layers
        title, tile = (
            wall.get_by_role("columnheader").nth(number).bounding_box(),
            page.locator(f'.att-tile[data-head="{number}"]').first.bounding_box(),
        )
        assert title["x"] + title["width"] / 2 == pytest.approx(tile["x"] + tile["width"] / 2, abs=1)
        assert title["y"] + title["height"] <= tile["y"]
        title, tile = (
            wall.get_by_role("rowheader").nth(number).bounding_box(),
            page.locator(f'.att-tile[data-layer="{number + 1}"]').first.bounding_box(),
        )
        assert title["y"] + title["height"] / 2 == pytest.approx(tile["y"] + tile["height"] / 2, abs=2)
        assert title["x"] + title["width"] <= tile["x"]
    strips = page.locator("#attention .att-tile").evaluate_all("all => all.map(tile => getComputedStyle(tile).borderBottomColor)")
    entropy = heads.entropy(traced).flatten().numpy()
    level = np.rint(255 * (entropy - entropy.min()) / (entropy.max() - entropy.min())).astype(int)
    expected = render.lookup_table("viridis")[level].astype(int)
    assert np.abs(np.array([[int(part) for part in re.findall(r"\d+", strip)] for strip in strips]) - expected).max() <= 3


def pixels_of(canvas) -> np.ndarray:
    settle(canvas.page)
    data = canvas.evaluate("canvas => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"))


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
    areas = [erase_curve(vit, engine, tensor, random_heat(traced.grid, seed), target, steps=14).deletion_area for seed in range(10)]
    prior = erase_curve(vit, engine, tensor, centre_prior(traced.grid), target, steps=14).deletion_area
    expect(page.locator("#attention .att-conclusion")).to_have_text(conclusion(curves["map"].deletion_area, areas, prior))
    texts = page.locator("#attention .att-chart text").all_text_contents()
    assert {"patches erased, in %", f"probability of {vit.labels[target].name}, in %", "50", "100"} <= set(texts)
    expect(page.locator("#attention .att-chart .spread")).to_have_count(1)
    expect(page.locator("#attention .att-chart-text")).to_contain_text(f"({min(areas):.3f} to {max(areas):.3f})")
    with Requests(page) as made:
        for step in (0, 5, 14):
            slide(page, "k", step)
            expect(page.locator("#attention .att-k-text")).to_have_text(f"{14 * step} of 196, {round(100 * 14 * step / 196)} %")
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

    overlay = take(page, "Overlay", f"picture-{vit.name}-cls-layer-2-overlay.png")
    with Image.open(picture) as photo:
        expected = render.overlay(photo.convert("RGB"), heat, geometry, render.OverlayStyle("magma", 0.7))
    assert np.array_equal(np.asarray(Image.open(overlay).convert("RGB")), np.asarray(expected))
    frames = list(ImageSequence.Iterator(Image.open(take(page, "GIF", f"picture-{vit.name}-cls-layers.gif"))))
    assert len(frames) == 3
    assert Image.open(take(page, "WebP", f"picture-{vit.name}-cls-layers.webp")).n_frames == 3
    assert Image.open(take(page, "All layers", f"picture-{vit.name}-cls-layers.png")).width > 600
    with np.load(take(page, "NPZ", f"picture-{vit.name}-cls-maps.npz")) as numbers:
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
