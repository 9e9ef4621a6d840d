"""The Attention tab in the page: the photo travels, errors are sentences, the tour, what a screen reader finds, and memory."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_attention import Requests, offer, visit
from tests.browser.test_classify import WAIT, clear, give, labels, serious
from tests.support.pictures import noise

pytestmark = pytest.mark.browser


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def ready(page: Page, name: str) -> None:
    expect(page.locator("#attention .att-name")).to_contain_text(name, timeout=WAIT)
    expect(page.locator("#attention")).to_have_attribute("data-state", "ready", timeout=WAIT)


def test_one_photo_travels_across_the_tabs_and_is_computed_once(app, open_page, picture, tmp_path):
    other = tmp_path / "other.png"
    noise(20, 30).resize((200, 300)).save(other)
    page = open_page(app)
    give(page, picture)
    first = labels(page)
    tab(page, "Attention")
    ready(page, "picture.png")
    chances = page.locator("#attention .att-picker[data-role=target] .att-chip small").all_inner_texts()
    shown = page.locator("#answer li:not([hidden]) .percent").all_inner_texts()
    assert [each.replace("< ", "") for each in chances] == [each.replace("< ", "") for each in shown]
    assert len(first) == 5

    offer(page, other)
    expect(page.locator("#answer .answer-head h2")).to_have_text("picture.png")  # nobody looks at that tab now
    tab(page, "Classify")
    expect(page.locator("#answer .answer-head h2")).to_have_text("other.png", timeout=WAIT)
    took = page.locator("#answer .answer-head p").inner_text()
    with Requests(page) as made:
        tab(page, "Attention")
        ready(page, "other.png")
        page.wait_for_timeout(700)  # nothing is to come, so there is nothing else to wait for
        tab(page, "Classify")
        page.wait_for_timeout(700)  # nor here
    assert page.locator("#answer .answer-head p").inner_text() == took  # the same pass
    assert not any("maps.bin" in url or "photo.jpg" in url for url in made.urls)
    clear(page)
    tab(page, "Attention")
    expect(page.locator("#attention .att-text")).to_contain_text("Drop a photo", timeout=WAIT)


def test_a_drawing_a_dropped_and_a_pasted_photo(app, open_page, picture):
    page = visit(open_page, app)
    page.locator("#attention-examples").get_by_label("Try the cheetah").click()
    ready(page, "cheetah.jpg")
    move = """(target, [kind, data]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(data)], "given.png", {type: "image/png"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: transfer, bubbles: true})
            : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true});
        target.dispatchEvent(event);
    }"""
    page.locator("#attention .att-frame").evaluate(move, ["drop", list(picture.read_bytes())])
    ready(page, "given.png")
    page.locator("#attention-examples").get_by_label("Try the lion").click()
    ready(page, "lion.jpg")
    page.locator("body").evaluate(move, ["paste", list(picture.read_bytes())])
    ready(page, "given.png")
    expect(page.locator("#attention .att-outline").last).to_have_attribute("d", re.compile("^M51"))


def test_what_is_wrong_is_a_sentence_and_the_next_photo_works(app, open_page, picture, tmp_path):
    page = visit(open_page, app)
    (tmp_path / "words.jpg").write_text("these are words")
    page.set_input_files("#attention .att-pick", tmp_path / "words.jpg")
    expect(page.locator("#attention [role=alert].att-text")).to_contain_text(
        "“words.jpg” is not a photo that can be read here: give a JPEG", timeout=WAIT
    )
    expect(page.locator("#attention .att-method")).to_be_hidden()
    offer(page, picture)
    expect(page.locator("#attention .att-method")).to_be_visible()
    page.set_input_files("#attention .att-pick", tmp_path / "words.jpg")
    expect(page.locator("#attention .att-problem")).to_contain_text("“words.jpg” is not a photo that can be read here", timeout=WAIT)
    expect(page.locator("#attention .att-problem")).to_contain_text("The photo before it stays on show.")
    expect(page.locator("#attention .att-name")).to_contain_text(picture.name)
    expect(page.locator("#attention .att-method")).to_be_visible()
    slender = tmp_path / "slender.png"
    noise(900, 90).save(slender)
    offer(page, slender)
    expect(page.locator("#attention .att-notes")).to_contain_text("The model sees")
    expect(page.locator("#attention .att-notes")).to_contain_text("its surroundings")
    assert page.locator("#attention .att-heat").evaluate("canvas => canvas.width / canvas.height") < 4
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    noise(50, 40).save(hostile)
    page.set_input_files("#attention .att-pick", hostile)
    expect(page.locator("#attention .att-name")).to_contain_text("onerror", timeout=WAIT)
    expect(
        page.locator("#attention .att-chip").get_by_text("<b>egg</b>").or_(page.locator("#attention .att-chip").first).first
    ).to_be_visible()
    assert page.locator("#attention b, #attention img[src=x]").count() == 0
    assert alerts == []


def test_preprocessing_of_ones_own_counts_here_too(app, open_page, picture):
    from tests.browser.test_classify import choose

    page = open_page(app)
    give(page, picture)
    labels(page)
    page.get_by_role("button", name="Preprocessing").click()
    choose(page, "Image size", "160")
    expect(page.locator("#view")).to_contain_text("10×10 patches", timeout=WAIT)
    tab(page, "Attention")
    ready(page, "picture.png")
    page.locator("#attention .att-gridded").check()
    expect(page.locator("#attention .att-grid").last).to_have_attribute("d", re.compile("^(M[^M]+){18}$"))


def test_the_layers_are_in_sight_on_a_projector(app, open_page, picture):
    page = open_page(app)
    page.set_viewport_size({"width": 1280, "height": 800})
    tab(page, "Attention")
    offer(page, picture)
    for name in ("play", "layer", "lens"):
        expect(page.locator(f"#attention .att-{name}")).to_be_in_viewport(ratio=1)
    page.locator("#attention .att-opacity").evaluate("slider => slider.scrollIntoView({block: 'center'})")
    expect(page.locator("#attention .att-heat")).to_be_in_viewport(ratio=1)  # the photo stays beside what changes it


def test_on_a_phone_nothing_jumps_and_an_opened_head_is_seen(app, open_page, picture):
    page = visit(open_page, app, picture, width=390)
    photo = page.locator("#attention .att-heat")
    before = photo.bounding_box()
    photo.click(position={"x": before["width"] / 2, "y": before["height"] / 2})
    expect(page.locator("#attention .att-title")).to_contain_text("What the patch in row")
    assert photo.bounding_box() == before
    page.locator("#attention .att-tile").first.click()
    expect(page.locator("#attention .att-open-title")).to_have_text("Layer 1, head 0")
    expect(page.locator("#attention .att-large")).to_be_in_viewport()


def test_the_tour(app, open_page, picture):
    page = visit(open_page, app, picture)
    page.get_by_role("button", name="Guided tour").click()
    titles = []
    for step in range(1, 6):
        expect(page.locator("#attention .att-tour-count")).to_have_text(f"{step} of 5")
        expect(page.locator("#attention .att-tour-title")).to_be_focused()
        titles.append(page.locator("#attention .att-tour-title").inner_text())
        if step == 3:
            expect(page.locator("#attention .att-title")).to_contain_text("What the patch in row")
        if step == 5:
            expect(page.locator("#attention .att-chart .curve")).to_have_count(3, timeout=2 * WAIT)
        page.get_by_role("button", name="Next").or_(page.get_by_role("button", name="Done")).click()
    assert len(set(titles)) == 5
    expect(page.locator("#attention .att-tour")).to_be_hidden()
    expect(page.get_by_role("button", name="Guided tour")).to_be_focused()

    page.locator("#attention .att-method").get_by_role("radio", name="Rollout").click()
    page.locator("#attention .att-layer").fill("2")
    page.locator("#attention .att-opacity").fill("80")
    page.get_by_role("button", name="Guided tour").click()
    page.get_by_role("button", name="Next").click()
    page.keyboard.press("Escape")
    expect(page.locator("#attention .att-tour")).to_be_hidden()
    expect(page.locator("#attention .att-title")).to_contain_text("Rollout · up to layer 2 of 3")  # all is as it was
    expect(page.locator("#attention .att-opacity-text")).to_have_text("80 %")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessibility(app, open_page, picture, tmp_path, theme, width):
    page = visit(open_page, app, None, theme, width)
    found = serious(page)
    offer(page, picture)
    page.get_by_text("Why this, and not").click()
    page.locator("#attention .att-picker[data-role=other] .att-chip").first.click()
    page.get_by_label("Search a class").fill("a")
    expect(page.locator("#attention .att-found button").first).to_be_visible()
    page.get_by_role("button", name="Switch this head off").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("With one head off", timeout=WAIT)
    page.locator("#attention .att-split").fill("50")
    page.get_by_role("button", name="Test the map on show").click()
    expect(page.locator("#attention .att-erase-text")).to_contain_text("Tested", timeout=2 * WAIT)
    found += serious(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways to
    page.get_by_label("Search a class").fill("")
    page.get_by_role("button", name="Guided tour").click()
    page.wait_for_function("document.getAnimations().every(animation => animation.playState !== 'running')")
    found += serious(page)
    page.keyboard.press("Escape")
    (tmp_path / "words.jpg").write_text("no photo")
    page.set_input_files("#attention .att-pick", tmp_path / "words.jpg")
    expect(page.locator("#attention .att-problem")).to_contain_text("stays on show", timeout=WAIT)
    found += serious(page)
    assert found == []


@pytest.mark.slow
def test_twenty_photos_leave_memory_flat(start_app, bundle, open_page, tmp_path):
    server = start_app("--model", f"local-dir:{bundle}", "--trace-cache-mb", "64")
    page = visit(open_page, server)
    sizes = []
    for number in range(20):
        path = tmp_path / f"photo {number}.jpg"
        noise(80, 60, number).resize((1600, 1200)).save(path)
        offer(page, path)
        page.wait_for_timeout(300)  # what the photo before left behind is given back in time
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000)
    print("MB after each photo:", *(f"{size:.0f}" for size in sizes))
    assert max(sizes[10:]) - sizes[9] < 60
