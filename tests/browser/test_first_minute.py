"""The first minute: the page opens on a living picture, and what a newcomer sees and does next."""

import re

import pytest
import timm
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from tests.browser.test_classify import WAIT, drop, give, labels, serious
from tests.support.hub import Hub
from vitdemo.core.config import DEFAULT_MODEL
from vitdemo.core.inference.model_store import PAUSE_SECONDS

pytestmark = pytest.mark.browser
SIZES = [(1280, 800), (1920, 1080), (390, 844)]
IN_SIGHT = ("#view svg", "#view .view-modes", "#answer .says", "#answer .ways")


def opened(page: Page) -> Page:
    """Once the sample is answered."""
    expect(page.locator("#view .map.on")).to_have_count(1, timeout=WAIT)
    expect(page.locator("#answer .says")).to_be_visible(timeout=WAIT)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_opens_on_an_answered_sample(demo_app, open_page, theme, width, height):
    page = open_page(demo_app, theme, width, height=height, sample=True)
    place = page.locator("#view").bounding_box()  # kept from the start
    opened(page)
    for part in IN_SIGHT:
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    now = page.locator("#view").bounding_box()
    assert (now["y"], now["height"]) == pytest.approx((place["y"], place["height"]), abs=1)
    sentence = page.locator("#answer .says").inner_text()
    first, second = labels(page)[:2]
    assert re.fullmatch(rf"It says {first}, [\d.]+ %\. (It almost said|Next comes) {second}, .+ %\.", sentence)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []


def test_the_sample_is_there_before_its_answer(demo_app, open_page):
    page, held = open_page(demo_app), []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.goto(demo_app.url)
    expect(page.locator("#view .first")).to_be_visible(timeout=WAIT)
    place = page.locator("#view .first").bounding_box()
    expect(page.locator("#answer .busy")).to_be_visible()
    while held:
        held.pop().continue_()
    page.unroute("**/queue/join*")
    opened(page)
    expect(page.locator("#view .first")).to_have_count(0)
    now = page.locator("#view svg").bounding_box()
    assert [now[edge] for edge in place] == pytest.approx(list(place.values()), abs=1)


def test_the_map_goes_through_the_layers_until_somebody_does_something(demo_app, open_page):
    page = opened(open_page(demo_app, sample=True))
    seen = {page.locator("#view .layer").inner_text() for _ in range(8) if page.wait_for_timeout(450) is None}
    assert len(seen) > 2
    page.keyboard.press("Shift")
    last = page.locator("#view .map").count()
    expect(page.locator("#view .layer")).to_have_text(f"Layer {last} of {last}.")
    expect(page.locator("#view .map").last).to_have_css("opacity", "1")
    page.wait_for_timeout(1500)  # nothing is to change
    expect(page.locator("#view .layer")).to_have_text(f"Layer {last} of {last}.")


def test_under_reduced_motion_the_map_stands_still(demo_app, browser):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(demo_app.url)
    opened(page)
    last = page.locator("#view .map").count()
    for _ in range(3):
        expect(page.locator("#view .layer")).to_have_text(f"Layer {last} of {last}.")
        page.wait_for_timeout(500)
    context.close()


def test_see_why_shows_the_photo_with_the_rival(demo_app, open_page, picture):
    page = opened(open_page(demo_app, sample=True))
    first, second = labels(page)[:2]
    page.get_by_role("button", name="See why").click()
    expect(page.locator("#attention .att-title")).to_contain_text(f"Why {first}, and not {second}", timeout=WAIT)
    page.get_by_role("tab", name="Classify").click()
    give(page, picture)
    expect(page.locator("#answer h2")).to_have_text("picture.png", timeout=WAIT)
    expect(page.locator("#view .map")).to_have_count(0)  # only samples have maps here
    first, second = labels(page)[:2]
    page.get_by_role("button", name="See why").click()
    expect(page.locator("#attention .att-title")).to_contain_text(f"Why {first}, and not {second}", timeout=WAIT)
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="See why").click()  # of a photo that is there already
    expect(page.locator("#attention .att-title")).to_be_in_viewport()
    expect(page.locator("#attention .att-name")).to_contain_text("picture.png")


@pytest.mark.parametrize("where", ["#answer", "#header"])
def test_the_tour_begins_with_the_sample(demo_app, open_page, where):
    page = opened(open_page(demo_app, sample=True))
    page.locator(where).get_by_role("button", name=re.compile("tour", re.IGNORECASE)).click()
    expect(page.locator(".tour-title")).to_have_text(f"The model says: {labels(page)[0]}", timeout=WAIT)
    expect(page.locator(".tour-count")).to_have_text(re.compile("^1 of "))


def test_another_photo_comes_by_button_camera_or_drop_and_goes(demo_app, open_page, picture):
    page = opened(open_page(demo_app, sample=True))
    page.set_input_files("#choose input[type=file]", picture)
    expect(page.locator("#answer h2")).to_have_text("picture.png", timeout=WAIT)
    page.get_by_role("button", name="Camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.locator("#photo").get_by_label("capture photo").click()
    expect(page.locator("#answer h2")).not_to_have_text("picture.png", timeout=WAIT)
    expect(page.locator("#view svg")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    drop(page, picture)
    expect(page.locator("#answer h2")).to_have_text("picture.png", timeout=WAIT)


def test_the_chip_opens_into_what_is_to_say_of_the_model(demo_app, open_page):
    page = opened(open_page(demo_app, sample=True))
    chip = page.locator("#model-status summary")
    expect(chip).to_have_text("CPU · fp32")
    facts = page.locator("#model-status .model-facts")
    expect(facts).to_be_hidden()
    chip.click()
    expect(facts).to_contain_text("21 classes")
    page.keyboard.press("Escape")
    expect(facts).to_be_hidden()
    expect(chip).to_be_focused()
    page.keyboard.press("Enter")
    expect(facts).to_be_visible()
    page.locator("h1").click()
    expect(facts).to_be_hidden()


@pytest.fixture
def hub(tmp_path):
    """A hub with random weights for the default model."""
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model(DEFAULT_MODEL).state_dict(), path)
    hub = Hub({f"timm/{DEFAULT_MODEL}/model.safetensors": path})
    yield hub
    hub.close()


def test_retry_fetches_what_was_out_of_reach(hub, start_app, tmp_path, open_page):
    hub.behave = "silent"
    server = start_app(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
    page = opened(open_page(server, sample=True))
    chip = page.locator("#model-status")
    expect(chip.locator("summary")).to_have_text("Offline: demo model", timeout=WAIT)
    expect(page.locator("#answer .answer-head")).to_contain_text("Demo model")
    assert "The model hub did not answer within 5 s. The demo model answers until it is: press Retry on the page." in server.log.read_text()
    hub.behave = "slow"
    chip.locator("summary").click()
    expect(chip).to_contain_text(re.compile(r"ViT-B/16 is not on this machine\. The model hub .+\. Until then the demo model answers"))
    page.wait_for_timeout(1000 * PAUSE_SECONDS)  # for each Retry all visitors wait
    chip.get_by_role("button", name="Retry").click()
    expect(chip).to_contain_text("Downloading ViT-B/16", timeout=WAIT)
    hub.behave = "well"
    expect(page.locator("#answer .answer-head")).to_contain_text("ViT-B/16", timeout=60_000)
    expect(chip.locator("summary")).to_have_text("CPU · fp32")
    server.stop()


def test_a_drawing_is_answered_while_the_weights_are_on_their_way(hub, start_app, tmp_path, open_page):
    hub.behave = "slow"
    server = start_app(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="0")
    page = opened(open_page(server, sample=True))
    answer = page.locator("#answer")
    expect(answer).to_contain_text("ViT-B/16 is on its way. Meanwhile the demo model")
    expect(answer).to_contain_text(re.compile(r"Downloading ViT-B/16: \d+ %"), timeout=WAIT)
    expect(answer.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("button", name="See why")).to_have_count(0)  # no photo is given yet
    hub.behave = "well"
    expect(answer.locator(".answer-head")).to_contain_text("ViT-B/16", timeout=60_000)
    expect(answer.locator("h2")).to_have_text("cheetah.jpg")
    expect(answer.get_by_role("progressbar")).to_have_count(0)
    server.stop()
