"""Methods of the Attention tab beside relevance: votes and their ledger, FullGrad+, the plain gradient; artefacts; the lens as a table."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_attention import canvas, check, known, method, offer, settle, slide, visit  # noqa: F401
from tests.browser.test_classify import WAIT, real_app  # noqa: F401
from tests.support.pictures import noise
from vitdemo.attention.drawing import render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.artefacts import find_artefacts
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.heads import logit_lens
from vitdemo.attention.methods.votes import ledger
from vitdemo.core.inference.trace import trace
from vitdemo.core.photos.photo import open_photo

pytestmark = pytest.mark.browser


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_each_method_of_a_class_is_drawn(app, open_page, picture, known, vit, engine):  # noqa: F811
    tensor, traced, geometry = known
    first, second = traced.logits.argsort(descending=True)[:2].tolist()
    votes = [ledger(vit, engine, traced, each).heats(traced)[-1].numpy() for each in (first, second)]
    page = visit(open_page, app, picture)
    check(page, maps.relevance(traced, attention_gradient(vit, engine, tensor, first)), geometry)
    with page.expect_response("**/attention/class_map"):
        page.get_by_label("Plain gradient").check()
    page.wait_for_timeout(200)  # until the answer is read
    settle(page)
    check(page, maps.relevance(traced, attention_gradient(vit, engine, tensor, first, "plain")), geometry)

    method(page, "Votes")
    expect(page.get_by_label("Plain gradient")).to_be_hidden()
    expect(page.locator("#attention .att-unit")).to_contain_text("votes for")
    expect(page.locator("#attention .att-title")).to_contain_text("What CLS read for")
    check(page, votes[0], geometry, colours=render.DIFFERENCE, span=render.even_span(votes[0]))
    slide(page, "layer", 2)
    early = ledger(vit, engine, traced, first).heats(traced)[1].numpy()
    check(page, early, geometry, colours=render.DIFFERENCE, span=render.even_span(early))
    slide(page, "layer", 3)
    page.get_by_text("Why this, and not").click()
    page.locator("#attention .att-picker[data-role=other] .att-chip").first.click()
    expect(page.locator("#attention .att-title")).to_contain_text("Why ")
    difference = votes[0] - votes[1]
    check(page, difference, geometry, colours=render.DIFFERENCE, span=render.even_span(difference))
    page.locator("#attention .att-picker[data-role=other] .att-chip[aria-pressed=true]").click()

    method(page, "FullGrad+")
    shares = fullgrad(vit, engine, tensor, first).heats(traced)[-1].numpy()
    expect(page.locator("#attention .att-unit")).to_contain_text("shares for")
    check(page, shares, geometry, colours=render.DIFFERENCE, span=render.even_span(shares))


def test_the_ledger_adds_up_and_sorts_the_wall(app, open_page, picture, known, vit, engine):  # noqa: F811
    _, traced, _ = known
    first, second = traced.logits.argsort(descending=True)[:2].tolist()
    found = ledger(vit, engine, traced, first)
    page = visit(open_page, app, picture)
    sums = page.locator("#attention .att-ledger-sum strong")
    expect(sums).to_have_count(2, timeout=WAIT)
    assert [number(each) for each in sums.all_inner_texts()] == pytest.approx([float(traced.logits[first])] * 2, abs=2e-3)
    lines = page.locator("#attention .att-ledger-lines tr")
    expect(lines).to_have_count(traced.layers + 3)
    shown = [number(each) for line in lines.all() for each in line.locator(".att-ledger-values").inner_text().split()]
    assert sum(shown) == pytest.approx(float(traced.logits[first]), abs=0.005 * len(shown))

    page.get_by_role("radio", name="votes", exact=True).click()
    expect(page.locator("#attention .att-tint-why")).to_contain_text("vote in logits")
    page.get_by_label("Sort").check()
    for layer in range(traced.layers):
        tiles = page.locator(f"#attention .att-tile[data-layer='{layer + 1}']")
        order = [int(tile.get_attribute("data-head")) for tile in tiles.all()]
        assert order == found.heads[layer].argsort(descending=True).tolist()
        assert number(tiles.first.get_attribute("aria-label").split(": ")[1].split()[0]) == pytest.approx(
            float(found.heads[layer].max()), abs=0.006
        )

    top = page.locator("#attention .att-ledger-top button").first
    place = divmod(int(found.heads.abs().argmax()), traced.heads)
    assert (int(top.get_attribute("data-layer")) - 1, int(top.get_attribute("data-head"))) == place
    top.click()
    expect(page.locator("#attention .att-open-title")).to_have_text(f"Layer {place[0] + 1}, head {place[1]}")
    vote = page.locator("#attention .att-vote dd")
    expect(vote.nth(0)).to_contain_text("1st of")
    expect(vote.nth(1)).to_contain_text("not measured")
    page.get_by_role("button", name="Switch this head off").click()
    expect(vote.nth(1)).to_contain_text("logits without it", timeout=WAIT)
    expect(vote.nth(0)).to_contain_text("1st of")  # its vote while all heads are on
    page.get_by_role("button", name="All heads on").click()
    expect(page.locator("#attention .att-moves")).to_contain_text("with all heads", timeout=WAIT)

    page.get_by_text("Why this, and not").click()
    page.locator("#attention .att-picker[data-role=other] .att-chip").first.click()
    expect(page.locator("#attention .att-ledger-sum")).to_contain_text("difference of the logits", timeout=WAIT)
    between = float(traced.logits[first] - traced.logits[second])
    assert [number(each) for each in sums.all_inner_texts()] == pytest.approx([between] * 2, abs=2e-3)


def test_the_ledger_is_of_the_photo_on_show_whatever_the_method(app, open_page, picture, tmp_path, known, vit):  # noqa: F811
    other = noise(90, 70, 5)
    other.save(tmp_path / "other.png")
    logit = float(trace(vit, vit.preprocessing(other)).logits.max())
    assert abs(logit - float(known[1].logits.max())) > 0.01
    page = visit(open_page, app, picture)
    sums = page.locator("#attention .att-ledger-sum strong")
    expect(sums).to_have_count(2, timeout=WAIT)
    method(page, "Rollout")
    with page.expect_response("**/attention/votes"):
        offer(page, tmp_path / "other.png")
    settle(page)
    assert [number(each) for each in sums.all_inner_texts()] == pytest.approx([logit] * 2, abs=2e-3)


def test_the_answer_after_each_layer_is_a_table(app, open_page, picture, known, vit, engine):  # noqa: F811
    _, traced, _ = known
    values, indices = logit_lens(traced, vit, engine).softmax(-1).topk(3)
    page = visit(open_page, app, picture)
    lines = page.locator("#attention .att-lens-table tbody tr")
    expect(lines).to_have_count(traced.layers)
    for line, chances, classes in zip(lines.all(), values.tolist(), indices.tolist(), strict=True):
        assert line.locator("td span").all_inner_texts() == [vit.labels[index].short for index in classes]
        shares = [float(bar.evaluate("bar => bar.style.getPropertyValue('--share')")) for bar in line.locator("i").all()]
        assert shares == pytest.approx(chances, abs=1e-5)
    lines.first.get_by_role("button").click()
    expect(page.locator("#attention .att-layer-text")).to_have_text(f"1 / {traced.layers}")
    expect(lines.first).to_have_class("current")


def test_artefacts_are_ringed_and_left_out(real_app, open_page, shared, real_tiny, settings):  # noqa: F811
    path = shared / "data" / "pets" / "images" / "cat_Abyssinian_13.jpg"
    image = open_photo(path, settings).image
    traced, geometry = trace(real_tiny, real_tiny.preprocessing(image)), real_tiny.preprocessing.geometry(image.size, real_tiny.patch)
    heat = maps.cls_map(traced, layer=12)
    places = find_artefacts(traced).places
    assert len(places) == 4
    page = visit(open_page, real_app, path)
    method(page, "CLS")
    share = sum(float(heat[place]) for place in places)
    said = page.locator("#attention .att-artefact-text")
    expect(said).to_contain_text(f"4 corner patches hold {share:.1%}".replace("%", " %"))
    rings = page.locator("#attention .att-ring").first
    assert rings.get_attribute("d").count("M") == 4
    hidden = canvas(page)
    page.get_by_role("button", name="Show", exact=True).click()
    settle(page)
    expect(said).not_to_contain_text("left out")
    assert rings.get_attribute("d").count("M") == 4
    check(page, heat, geometry)
    assert not np.array_equal(canvas(page), hidden)
    page.get_by_role("button", name="Leave out").click()
    settle(page)
    assert np.array_equal(canvas(page), hidden)
    slide(page, "layer", 3)  # where they are not yet what they become
    expect(said).to_be_hidden()
    method(page, "Relevance")
    slide(page, "layer", 12)
    expect(page.locator("#attention .att-title")).to_contain_text("What supports")


def test_the_methods_are_compared_on_five_photos(app, open_page, picture, tmp_path):
    page = visit(open_page, app, picture)
    page.get_by_role("button", name="On this photo").click()
    rows = page.locator("#attention .att-believe-table tbody tr")
    expect(rows).to_have_count(8, timeout=WAIT)
    expect(page.locator("#attention .att-believe-stop")).to_be_hidden(timeout=2 * WAIT)
    assert rows.locator("canvas").count() == 8
    expect(page.locator("#attention .att-believe-said li").first).to_contain_text("on this photo")
    page.set_viewport_size({"width": 390, "height": 844})
    table = page.locator("#attention .att-believe-wrap")
    brightness = [right_edge(table)]  # in the shadow of the columns beyond
    table.evaluate("table => table.scrollTo(table.scrollWidth, 0)")
    brightness.append(right_edge(table))
    assert brightness[1] - brightness[0] > 20
    page.set_viewport_size({"width": 1280, "height": 900})
    for number in range(5):
        noise(90, 70, number).save(tmp_path / f"{number}.png")
    page.set_input_files("#attention .att-believe-pick", [tmp_path / f"{number}.png" for number in range(5)])
    expect(page.locator("#attention .att-believe-how")).to_contain_text("On 5 photos, 5 of them erased", timeout=4 * WAIT)
    expect(page.locator("#attention .att-believe-stop")).to_be_hidden(timeout=WAIT)
    expect(page.locator("#attention .att-believe-said li").first).to_contain_text("on these photos")
    assert rows.locator("canvas").count() == 0
    assert "to" in rows.first.locator("td").first.get_attribute("title")  # its interval
    page.set_input_files("#attention .att-believe-pick", [tmp_path / f"{number}.png" for number in range(4)])
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#attention .att-believe-text")).to_contain_text("Stopped", timeout=WAIT)


def right_edge(table) -> float:
    """How bright the last columns of pixels are, 0 … 255."""
    return float(np.asarray(Image.open(io.BytesIO(table.screenshot())).convert("L"))[:, -3:].mean())
