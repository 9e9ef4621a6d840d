"""What a person does to take a model away: choose, give photos, start, watch, stop, read, download, try, come back."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from tests.support.pictures import noise

pytestmark = pytest.mark.browser

WAIT = 240_000  # milliseconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six pictures in folders that name classes of the small ViT, and one that can't be read."""
    folder = tmp_path_factory.mktemp("upload") / "it's <b>“mine”"
    for number in range(6):
        path = folder / ("cat", "boat")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(80, 60, number).save(path)
    (folder / "cat" / "broken.png").write_bytes(b"no photo")
    return folder


def open_tab(page: Page) -> Page:
    page.get_by_role("tab", name="Export").click()
    expect(page.locator("#export .start")).to_be_enabled(timeout=WAIT)
    return page


def choose(page: Page, kind: str, value: str) -> None:
    page.locator(f"#export [name=exp-{kind}][value={value}]").check()


def start(page: Page) -> None:
    page.get_by_role("button", name="Export", exact=True).click()


def result(page: Page):
    card = page.locator("#export .exp-result")
    expect(card.locator(".exp-head")).to_be_visible(timeout=WAIT)
    return card


def take(page: Page, button, path: Path) -> Path:
    with page.expect_download() as download:
        button.click()
    download.value.save_as(path)
    return path


def test_from_start_to_the_model_in_classify(demo_app, open_page, tmp_path):
    page = open_tab(open_page(demo_app))
    expect(page.locator("#export .exp-model")).to_contain_text("Demo model 2.5 M parameters · 21 classes")
    expect(page.locator("#export .exp-strange")).to_be_hidden()
    choose(page, "precision", "int8")
    expect(page.locator("#export .exp-expected")).to_have_text("The model's file will have about 4 MB.")
    start(page)
    expect(page.locator("#export .exp-steps li")).to_have_count(7)
    expect(page.locator("#export .exp-steps .here")).to_have_text("Compare", timeout=WAIT)
    expect(page.locator("#export .exp-steps .past")).to_have_count(4)
    card = result(page)
    expect(card).to_contain_text("126 photos")
    facts = card.locator(".exp-facts b").all_inner_texts()
    assert float(facts[0].rstrip(" %")) >= 95
    assert card.locator(".exp-group").count() == 5
    expect(card.locator("tr.shipped .badge")).to_have_text("exported")
    rows = card.locator(".exp-table tbody th").all_inner_texts()
    assert rows[0] == "fp32"
    assert len(rows) >= 5

    archive = take(page, card.get_by_role("button", name=re.compile("Download all")), tmp_path / "bundle.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    bundle = tmp_path / "demo-onnx-int8"
    report = json.loads((bundle / "report.json").read_text("utf-8"))
    shipped = next(row for row in report["rows"] if row["shipped"])
    assert facts[3] == f"{shipped['bytes'] / 1e6:.1f} MB"
    assert rows == [f"{row['name']} exported" if row["shipped"] else row["name"] for row in report["rows"]]
    answer = json.loads((bundle / "known_answer" / "answer.json").read_text("utf-8"))
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    found = session.run(None, {"image": np.load(bundle / "known_answer" / "input.npy")})[0]
    np.testing.assert_allclose(found, np.load(bundle / "known_answer" / "output.npy"), atol=answer["tolerance"])
    assert (answer["predictions"][0]["label"], answer["credit"]) == ("butterfly", "butterfly, drawn for this app")
    names = card.locator(".exp-files button").all_inner_texts()
    assert sorted(names) == sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    single = take(page, card.get_by_role("button", name="Download labels.json"), tmp_path / "labels.json")
    assert single.read_bytes() == (bundle / "labels.json").read_bytes()

    page.get_by_role("button", name="Try it").click()
    trial = page.locator("#trial")
    expect(trial.locator(".trial-side")).to_have_count(2, timeout=WAIT)
    assert [side.locator(".label").first.inner_text() for side in trial.locator(".trial-side").all()] == ["butterfly"] * 2
    expect(trial.locator("figcaption")).to_have_text("butterfly.png")
    times = [float(re.search(r"([\d.]+) ms", text)[1]) for text in trial.locator(".trial-about").all_inner_texts()]
    assert all(time > 0 for time in times)
    expect(trial).to_contain_text("The same top class.")
    page.get_by_role("button", name="Try the umbrella").first.click()
    expect(trial.locator("figcaption")).to_have_text("umbrella.jpg", timeout=WAIT)
    assert {side.locator(".label").first.inner_text() for side in trial.locator(".trial-side").all()} == {"umbrella"}
    trial.get_by_role("button", name="Close").click()
    expect(trial).to_be_hidden()
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Try it").click()
    expect(trial.locator("figcaption")).to_have_text("umbrella.jpg", timeout=WAIT)
    page.get_by_role("tab", name="Export").click()
    choose(page, "format", "safetensors")
    start(page)
    expect(result(page)).to_contain_text("model.safetensors")
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("button", name="Try the clock").first.click()
    expect(trial).to_contain_text("Another export has taken the place of this one", timeout=WAIT)
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Try it").click()
    expect(trial.locator(".trial-side h3").last).to_have_text("model.safetensors", timeout=WAIT)


def test_ones_own_photos_and_what_is_put_in(app, open_page, folder, tmp_path):
    page = open_tab(open_page(app))
    expect(page.locator("#export .exp-strange")).to_be_visible()
    expect(page.locator("#export .exp-strange")).to_contain_text("This model was not made for drawings")
    page.set_input_files("#export .folder", folder)
    expect(page.locator("#export .exp-compared")).to_have_text("It is compared on your 7 photos, in 2 folders.", timeout=WAIT)
    expect(page.locator("#export .exp-strange")).to_be_hidden()
    choose(page, "format", "pt2")
    page.get_by_text("Options").click()
    page.get_by_text("The graph takes uint8").click()
    page.locator("#export [value=features]").check()
    start(page)
    card = result(page)
    expect(card).to_contain_text("Compared on your photos: 6 of 7.")
    expect(card).to_contain_text("accuracy on 6 photos")
    expect(card).to_contain_text("max difference of features")
    assert card.locator(".exp-facts b").first.inner_text() == "100.0 %"
    report = take(page, card.get_by_role("button", name="Download report.json"), tmp_path / "report.json")
    assert json.loads(report.read_text("utf-8"))["plan"] == {
        "format": "pt2", "precision": "fp32", "baked": True, "extras": ["features"], "kits": [], "prefer": "fastest",
    }  # fmt: skip
    page.get_by_role("button", name="Use the sample drawings").click()
    expect(page.locator("#export .exp-compared")).to_contain_text("126 sample drawings")


def test_only_what_goes_together_can_be_chosen(app, open_page):
    page = open_tab(open_page(app))
    page.get_by_text("Options").click()
    choose(page, "precision", "int8")
    expect(page.locator("#export .exp-calibration")).to_contain_text("No photos to calibrate on")
    choose(page, "format", "torchscript")
    assert page.locator("#export [name=exp-precision]:checked").input_value() == "fp32"
    expect(page.locator("#export [value=int8]")).to_be_disabled()
    expect(page.locator("#export .exp-kits label:visible")).to_have_count(1)
    choose(page, "format", "safetensors")
    expect(page.locator("#export .exp-graph")).to_be_hidden()
    expect(page.locator("#export .exp-bare")).to_be_visible()
    left = [page.locator(f"#export {part}").bounding_box()["x"] for part in (".exp-bare", ".exp-checks")]
    assert left[0] == left[1]  # alone, at the side where a line begins


def test_calibration_adds_a_static_recipe(app, open_page, folder):
    page = open_tab(open_page(app))
    choose(page, "precision", "int8")
    page.set_input_files("#export .calibration", sorted(folder.glob("*/[0-9].png")))
    expect(page.locator("#export .exp-calibrated")).to_contain_text("some of 6 photos", timeout=WAIT)
    expect(page.locator("#export .exp-compared")).to_contain_text("what calibration leaves of your photos")
    start(page)
    expect(result(page).locator(".exp-table")).to_contain_text("static, fc2 weight-only")


def test_a_reload_finds_it_and_stop_leaves_nothing(demo_app, open_page):
    page = open_tab(open_page(demo_app))
    choose(page, "precision", "int8")
    start(page)
    expect(page.locator("#export .exp-steps .here")).to_have_text("Quantise", timeout=WAIT)
    page.reload()
    page.get_by_role("tab", name="Export").click()
    expect(page.locator("#export .exp-work-text")).to_contain_text(re.compile("Quantising|Comparing"), timeout=WAIT)
    expect(page.locator("#export [name=exp-precision][value=int8]")).to_be_checked()
    expect(page.locator("#export .start")).to_be_disabled()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#export .exp-work-text")).to_have_text("Stopped. Nothing was kept.", timeout=20_000)
    expect(page.locator("#export .exp-result")).to_be_hidden()
    expect(page.locator("#export .start")).to_be_enabled()


def test_two_at_once_and_a_reload_after_the_end(app, open_page, folder):
    first, second = open_tab(open_page(app)), open_tab(open_page(app))
    for page in (first, second):
        choose(page, "format", "safetensors")
        start(page)
    expect(second.locator("#export .exp-work-text")).to_contain_text("Waiting for another long job", timeout=WAIT)
    expect(result(first).locator(".warning")).to_contain_text("compared on drawings, and this model was made for other pictures")
    result(second)
    first.reload()
    first.get_by_role("tab", name="Export").click()
    expect(result(first)).to_contain_text("model.safetensors")
    expect(first.locator("#export .exp-expected")).to_contain_text("replaces the bundle below")


def test_what_is_wrong_is_said(app, open_page, folder, tmp_path):
    page = open_tab(open_page(app))
    page.set_input_files("#export .files", folder / "cat" / "broken.png")
    expect(page.locator("#export .exp-error")).to_contain_text("“broken.png” is not a photo", timeout=WAIT)
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    page.set_input_files("#export .files", tmp_path / "bad.zip")
    expect(page.locator("#export .exp-error")).to_contain_text("“bad.zip” is damaged or no zip", timeout=WAIT)
    expect(page.locator("#export .exp-compared")).to_contain_text("126 sample drawings")
    expect(page.locator("#export .start")).to_be_enabled()


def test_an_error_that_comes_before_the_end_is_told_at_the_end(app, open_page):
    page = open_tab(open_page(app))
    step = {"kind": "step", "stage": "model", "phase": "Loading the model", "done": 0, "total": 0}
    answer = {
        "state": "running",
        "given": {},
        "place": 0,
        "error": "",
        "events": [step, {"kind": "error", "text": "It can't be written."}],
        "report": "",
    }
    page.route("**/page/export/poll", lambda route: route.fulfill(json=answer))
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator("#export .exp-work-text")).to_have_text("Loading the model …", timeout=WAIT)


def test_more_than_a_visitor_may_keep_is_said_before_the_work(start_app, open_page, tmp_path):
    weights = tmp_path / "tiny.safetensors"
    save_file({name: each.half() for name, each in timm.create_model("vit_tiny_patch16_224").state_dict().items()}, weights)
    page = open_tab(open_page(start_app("--model", "vit_tiny_patch16_224", "--checkpoint", str(weights), "--workspace-mb", "16")))
    expect(page.locator("#export .exp-expected")).to_contain_text("about 23 MB")
    start(page)
    expect(page.locator("#export .exp-error")).to_contain_text("The bundle would take more than the 16 MB", timeout=WAIT)
    expect(page.locator("#export .start")).to_be_enabled()


def test_the_model_follows_the_header(demo_app, app, open_page):
    page = open_tab(open_page(app))
    page.locator("#model input").click()
    page.get_by_role("option", name=re.compile("Demo model")).click()
    expect(page.locator("#export .exp-model")).to_contain_text("Demo model", timeout=WAIT)
    expect(page.locator("#export .exp-strange")).to_be_hidden()


def test_accessible_and_inside_the_page(app, open_page, folder, tmp_path):
    page = open_tab(open_page(app, "light", 390))  # all tabs are in sight
    page.get_by_text("Options").click()
    choose(page, "precision", "int8")
    page.set_input_files("#export .folder", folder)
    expect(page.locator("#export .exp-compared")).to_contain_text("your 7 photos", timeout=WAIT)
    start(page)
    card = result(page)
    check(page)
    report = page.context.new_page()
    report.set_viewport_size({"width": 390, "height": 844})
    report.goto(take(page, card.get_by_role("button", name="Download report.html"), tmp_path / "report.html").as_uri())
    expect(report.get_by_role("heading", name="Recipes compared")).to_be_visible()
    assert report.evaluate("document.documentElement.scrollWidth") <= 390
    report.close()
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#trial .trial-side")).to_have_count(2, timeout=WAIT)
    check(page)


def check(page: Page) -> None:
    """By axe, wide and narrow, light and dark."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for _ in range(2):
            page.get_by_role("button", name="Light or dark").click()
            page.wait_for_function("document.getAnimations().every(animation => animation.playState !== 'running')")
            found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
            assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]] == []
