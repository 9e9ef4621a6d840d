"""What a person does with one photo in the Classify tab."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import drop
from tests.support.apps import TINY
from tests.support.heic import TURNED
from tests.support.pictures import noise
from tests.support.profiles import ADOBE_RGB, of_screen

pytestmark = pytest.mark.browser

WAIT = 90_000  # milliseconds


@pytest.fixture(scope="module")
def real_app(start_app, tiny_checkpoint):
    """The app with the real ViT-Tiny."""
    return start_app("--model", TINY, "--checkpoint", str(tiny_checkpoint))


def give(page: Page, path: Path) -> None:
    """Pick a file."""
    page.set_input_files("#photo input[type=file]", path)


def clear(page: Page) -> None:
    page.get_by_role("button", name="Remove", exact=True).click()


def labels(page: Page) -> list[str]:
    expect(page.locator("#answer .predictions li:not([hidden])").first).to_be_visible(timeout=WAIT)
    return page.locator("#answer .predictions li:not([hidden]) .label").all_inner_texts()


def test_drop_a_real_photo_and_read_the_top_five(real_app, open_page, shared, real_tiny):
    import timm
    import torch

    path = sorted((shared / "data" / "imagenet_val").rglob("*.JPEG"))[40]
    model = timm.create_model(
        TINY, pretrained=True, pretrained_cfg_overlay={"file": str(shared / "weights" / f"{TINY}.safetensors"), "custom_load": False}
    )
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        probabilities, indices = model.eval()(transform(Image.open(path).convert("RGB"))[None]).softmax(-1)[0].topk(5)
    info = timm.data.ImageNetInfo()

    page = open_page(real_app)
    drop(page, path)
    assert labels(page) == [info.index_to_description(index).split(", ")[0] for index in indices.tolist()]
    shown = [float(re.sub(r"[^\d.]", "", text)) for text in page.locator("#answer li:not([hidden]) .percent").all_inner_texts()]
    assert shown == pytest.approx([100 * each for each in probabilities.tolist()], abs=0.11)
    synsets = page.locator("#answer li:not([hidden]) .synset").all_inner_texts()
    assert synsets == [info.index_to_label_name(index) for index in indices.tolist()]
    expect(page.locator("#answer .answer-head")).to_contain_text(re.compile(r"ViT-Ti/16 · \d+ ms in the model"))
    widths = page.locator("#answer li:not([hidden]) .bar > div").evaluate_all(
        "bars => bars.map(bar => bar.clientWidth / bar.parentElement.clientWidth)"
    )
    assert widths == pytest.approx(probabilities.tolist(), abs=0.02)  # the scale runs from 0 to 100 %


def test_more_classes_are_shown_without_the_model(real_app, open_page, shared):
    page = open_page(real_app)
    give(page, next((shared / "data" / "pets" / "images").glob("*.jpg")))
    first = labels(page)
    took = page.locator("#answer .answer-head p").inner_text()
    for _ in range(4):
        page.get_by_label("More classes").click()
    expect(page.locator("#answer .count output")).to_have_text("9")
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(9)
    assert labels(page)[:5] == first
    assert page.locator("#answer .answer-head p").inner_text() == took  # the same pass, not a new one


def test_the_crop_is_outlined_where_the_model_looks(app, open_page, picture):
    page = open_page(app)
    give(page, picture)
    labels(page)
    # 320×240 at crop 0.9: torchvision resizes to 330×248, and the crop is the middle 224×224 of it
    numbers = [float(each) for each in re.findall(r"-?[\d.]+", page.locator("#view path.outline").last.get_attribute("d"))]
    left, top, right, bottom = numbers[0], numbers[1], numbers[2], numbers[3]
    assert (right - left, bottom - top) == pytest.approx((224 * 320 / 330, 224 * 240 / 248), abs=1e-3)
    assert (left + right) / 2 == pytest.approx(160, abs=1)
    assert page.locator("#view path.grid").last.get_attribute("d").count("M") == 2 * 13
    expect(page.locator("#view")).to_contain_text("14×14 patches of 16×16")
    expect(page.locator("#view path.grid").last).to_be_hidden()
    page.locator("#view").get_by_text("Patches", exact=True).click()
    expect(page.locator("#view path.grid").last).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#view path.grid").last).to_be_hidden()
    expect(page.locator("#view img.arrived")).to_be_visible()
    expect(page.locator("#view .said-arrived")).to_have_text("224×224 pixels.")


def test_paste_a_photo(app, open_page, picture):
    page = open_page(app)
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(60, 40);
            canvas.getContext("2d").fillRect(0, 0, 30, 40);
            await navigator.clipboard.write([new ClipboardItem({"image/png": await canvas.convertToBlob()})]);
        }"""
    )
    page.get_by_label("Paste from clipboard").click()
    assert len(labels(page)) == 5
    expect(page.locator("#view")).to_contain_text("60×40 pixels")


def test_take_a_photo_with_the_camera(app, open_page):
    page = open_page(app)
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.locator("#photo").get_by_label("capture photo").click()
    assert len(labels(page)) == 5


def test_clear_brings_back_the_empty_page(app, open_page, picture):
    page = open_page(app)
    give(page, picture)
    labels(page)
    clear(page)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    expect(page.locator("#view svg")).to_have_count(0)


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_other_preprocessing_warns_and_goes_back(app, open_page, picture):
    page = open_page(app)
    give(page, picture)
    before = labels(page), page.locator("#answer li:not([hidden]) .percent").all_inner_texts()
    page.get_by_role("button", name="Preprocessing").click()
    choose(page, "Mean and std", "ImageNet")
    warning = page.locator("#preprocessing .warning")
    expect(warning).to_contain_text("mean and std", timeout=WAIT)
    expect(warning).to_contain_text("trained with 0.5")
    expect(page.locator("#view .said-arrived")).to_contain_text("in the colours the model takes them for")
    choose(page, "Crop mode", "border")
    expect(page.locator("#view")).to_contain_text("90.3 % of the area", timeout=WAIT)
    choose(page, "Image size", "288")
    expect(page.locator("#view")).to_contain_text("18×18 patches", timeout=WAIT)
    page.get_by_role("button", name="Back to the model's own").click()
    expect(warning).to_have_count(0, timeout=WAIT)
    expect(page.locator("#view")).to_contain_text("14×14 patches", timeout=WAIT)
    assert (labels(page), page.locator("#answer li:not([hidden]) .percent").all_inner_texts()) == before


def test_a_phones_heic_picked_or_dropped(app, open_page):
    for way in (give, drop):
        page = open_page(app)
        way(page, TURNED)
        labels(page)
        expect(page.locator("#view")).to_contain_text("96×64 pixels")


def test_a_photo_in_other_colours_is_named_and_converted(app, open_page, tmp_path):
    path = tmp_path / "adobe.png"
    noise(320, 240).save(path, icc_profile=of_screen("Adobe RGB", ADOBE_RGB, 2.2))
    page = open_page(app)
    give(page, path)
    before = labels(page), page.locator("#answer li:not([hidden]) .percent").all_inner_texts()
    expect(page.locator("#answer")).to_contain_text("The photo's colours are in the profile “Adobe RGB”, not sRGB")
    arrived = page.locator("#view img.arrived").get_attribute("src")
    page.get_by_role("button", name="Preprocessing").click()
    choose(page, "Colour profile", "convert")
    expect(page.locator("#preprocessing .warning")).to_contain_text("colour profile", timeout=WAIT)
    assert page.locator("#view img.arrived").get_attribute("src") != arrived
    page.get_by_role("button", name="Back to the model's own").click()
    expect(page.locator("#preprocessing .warning")).to_have_count(0, timeout=WAIT)
    assert (labels(page), page.locator("#answer li:not([hidden]) .percent").all_inner_texts()) == before


def test_only_image_sizes_the_patches_divide_are_offered(app, open_page, picture):
    page = open_page(app)
    give(page, picture)
    labels(page)
    page.get_by_role("button", name="Preprocessing").click()
    page.get_by_label("Image size", exact=True).click()
    offered = [text for text in page.get_by_role("option").all_inner_texts() if text.strip("✓ \n").isdigit()]
    assert len(offered) > 5
    assert all(int(text.strip("✓ \n")) % 16 == 0 for text in offered)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A photo of 48 megapixels, which takes a while."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    noise(80, 60).resize((8000, 6000)).save(path)
    return path


@pytest.mark.parametrize("delay", [0, 300, 900])
def test_a_photo_replaced_while_it_is_answered(app, open_page, large, picture, delay):
    page = open_page(app)
    give(page, large)
    expect(page.locator("#photo img")).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(delay)  # at several moments of the answer's making
    clear(page)
    give(page, picture)
    expect(page.locator("#answer h2")).to_have_text("picture.png", timeout=WAIT)
    page.wait_for_timeout(4000)  # the large photo's answer would have come by now
    expect(page.locator("#answer h2")).to_have_text("picture.png")
    expect(page.locator("#view")).to_contain_text("320×240 pixels")


def test_a_photo_cleared_while_it_is_answered(app, open_page, large):
    page = open_page(app)
    give(page, large)
    expect(page.locator("#photo img")).to_be_visible(timeout=WAIT)
    clear(page)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    page.wait_for_timeout(4000)  # as above
    expect(page.locator("#answer")).to_contain_text("Drop a photo")
    expect(page.locator("#view svg")).to_have_count(0)


def test_the_number_of_classes_stays_with_the_next_photo(app, open_page, picture):
    page = open_page(app)
    give(page, picture)
    labels(page)
    for _ in range(2):
        page.get_by_label("Fewer classes").click()
    assert len(labels(page)) == 3
    page.get_by_label("Try the cat").click()
    expect(page.locator("#answer h2")).to_have_text("cat.jpg", timeout=WAIT)
    assert len(labels(page)) == 3
    for _ in range(7):
        page.get_by_label("More classes").click()
    assert len(labels(page)) == 8  # all there are


def test_a_click_on_a_drawing_and_the_keyboard(app, open_page):
    page = open_page(app)
    page.get_by_label("Try the cat").click()
    expect(page.locator("#answer h2")).to_have_text("cat.jpg", timeout=WAIT)
    page.get_by_label("Try the clock").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#answer h2")).to_have_text("clock.jpg", timeout=WAIT)
    expect(page.locator("#view")).to_contain_text("448×448 pixels")


HOSTILE = "a'b\"c<img src=x onerror=alert(1)>${1+1}{{value}}.png"


@pytest.fixture
def bad(tmp_path):
    """Bad files by what is wrong with them."""
    whole = tmp_path / "whole.jpg"
    noise(300, 200).save(whole)
    files = {
        "text.jpg": b"these are words",
        "empty.png": b"",
        "cut.jpg": whole.read_bytes()[: whole.stat().st_size // 2],
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    Image.new("L", (13_000, 13_000)).save(tmp_path / "bomb.png")
    noise(40, 30).save(tmp_path / HOSTILE)
    noise(40, 30).save(tmp_path / "film.gif", save_all=True, append_images=[noise(40, 30, 1), noise(40, 30, 2)])
    return tmp_path


def test_bad_files_get_a_sentence_and_the_next_photo_works(app, open_page, bad, picture):
    page = open_page(app)
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    for name, said in {
        "text.jpg": "“text.jpg” is not a photo that can be read here",
        "empty.png": "“empty.png” is empty (0 bytes): copy or download it again.",
        "cut.jpg": "“cut.jpg” is cut off and can't be decoded: copy or download it again.",
        "drawing.svg": "“drawing.svg” is an SVG drawing, not a photo: save it as PNG.",
        "bomb.png": "“bomb.png” has 169 megapixels, and the limit is 64: save a smaller copy of it.",
    }.items():
        give(page, bad / name)
        expect(page.get_by_role("alert")).to_contain_text(said, timeout=WAIT)
        expect(page.locator("#view svg")).to_have_count(0)
        clear(page)
        expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    give(page, bad / HOSTILE)
    expect(page.locator("#answer h2")).to_have_text(HOSTILE, timeout=WAIT)
    clear(page)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    give(page, bad / "film.gif")
    expect(page.locator("#answer")).to_contain_text("the first one is used", timeout=WAIT)
    assert alerts == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessibility(app, open_page, picture, tmp_path, theme, width):
    page = open_page(app, theme, width)
    expect(page.locator("#model-status")).to_contain_text("parameters", timeout=WAIT)
    page.get_by_role("button", name="Preprocessing").click()
    found = serious(page)
    give(page, picture)
    labels(page)
    choose(page, "Mean and std", "CLIP")
    expect(page.locator("#preprocessing .warning")).to_be_visible(timeout=WAIT)
    found += serious(page)
    clear(page)
    expect(page.locator("#answer")).to_contain_text("Drop a photo", timeout=WAIT)
    (tmp_path / "words.jpg").write_text("no photo")
    give(page, tmp_path / "words.jpg")
    expect(page.get_by_role("alert")).to_be_visible(timeout=WAIT)
    found += serious(page)
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways to


def serious(page: Page) -> list[str]:
    """axe's findings that are at least moderate, a line each."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary'][:160]}"
        for each in violations
        if each["impact"] in ("moderate", "serious", "critical")
        for node in each["nodes"]
    ]


def test_the_theme_button_is_remembered(app, open_page):
    page = open_page(app)
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    page.goto(app.url)
    expect(page.locator("body")).to_have_class(re.compile("dark"))


def test_on_a_phone_the_photo_and_its_answer_come_into_sight(app, open_page, picture):
    page = open_page(app, width=390)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    give(page, picture)
    expect(page.locator("#answer .says")).to_be_in_viewport(ratio=1, timeout=WAIT)
    expect(page.locator("#view svg")).to_be_in_viewport(ratio=1)
    tops = [page.locator(part).bounding_box()["y"] for part in ("#view", "#choose", "#answer", "#examples")]
    assert tops == sorted(tops)


def test_what_is_drawn_grows_with_the_text_on_a_large_screen(app, open_page):
    page = open_page(app, width=3840, height=2160)
    text = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    assert text > 32  # twice the usual
    page.get_by_role("tab", name="Export").click()
    assert page.locator("#export [name=exp-format]").first.bounding_box()["width"] == pytest.approx(text, abs=0.1)
    assert page.get_by_role("tab", name="Export").bounding_box()["height"] == pytest.approx(2 * text, abs=0.1)
    assert page.locator(".page-button").first.bounding_box()["height"] == pytest.approx(38 / 16 * text, abs=0.1)
    page.get_by_role("tab", name="Classify").click()
    label = page.locator("#preprocessing button span").first.evaluate("label => parseFloat(getComputedStyle(label).fontSize)")
    assert label == pytest.approx(0.875 * text, abs=0.1)


def test_nothing_lies_over_another_thing_in_the_header_of_a_narrow_phone(app, open_page):
    page = open_page(app, width=320, height=640)
    expect(page.locator(".model-status.ready")).to_be_visible(timeout=WAIT)
    brand, chip = (page.locator(part).bounding_box() for part in (".brand svg", ".model-status summary"))
    assert brand["x"] + brand["width"] <= chip["x"]
    assert page.locator(".brand h1").evaluate("name => getComputedStyle(name).clipPath") == "inset(50%)"
    assert page.get_by_role("heading", name="vitdemo").count() == 1  # for screen readers
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_lost_connection_is_told_in_words_that_help(app, open_page, picture):
    page = open_page(app, width=390)
    expect(page.locator(".model-status.ready")).to_be_visible(timeout=WAIT)
    page.context.set_offline(True)
    give(page, picture)
    expect(page.locator(".veil-said")).to_have_text("The server does not answer: check the connection and try again.", timeout=WAIT)
    expect(page.get_by_test_id("toast-text").filter(has_text="errored out")).to_have_count(0)
    page.context.set_offline(False)
    give(page, picture)
    assert len(labels(page)) == 5


def test_a_refused_photo_is_told_in_its_own_words(start_app, bundle, open_page, tmp_path):
    page = open_page(start_app("--model", f"local-dir:{bundle}", "--max-upload-mb", "1"))
    noise(900, 900).save(tmp_path / "large.png")
    give(page, tmp_path / "large.png")
    expect(page.locator(".veil-said")).to_have_text(
        "“large.png” is larger than 1 MB: leave it out, or save a smaller copy of it.", timeout=WAIT
    )


def test_no_torn_picture_where_the_browser_can_t_show_it(app, open_page, picture, tmp_path):
    page = open_page(app)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    give(page, tmp_path / "broken.png")
    expect(page.locator("#answer .error")).to_be_visible(timeout=WAIT)
    expect(page.locator("#photo img.torn")).to_have_css("visibility", "hidden")
    clear(page)
    give(page, picture)
    expect(page.locator("#view svg")).to_be_visible(timeout=WAIT)
    expect(page.locator("#photo img")).not_to_have_class(re.compile("torn"))
