"""What a person does to teach the model: look at the data, name classes, start, watch, stop, use the result, come back."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.support.pictures import paint

pytestmark = pytest.mark.browser

WAIT = 240_000  # milliseconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = paint(tmp_path_factory.mktemp("upload") / "colours", 4, 0)
    (folder / "red" / "broken.png").write_bytes(b"no photo")
    (folder / "red" / "again.png").write_bytes((folder / "red" / "0.png").read_bytes())
    return folder


def open_tab(page: Page) -> Page:
    page.get_by_role("tab", name="Fine-tune").click()
    expect(page.locator("#finetune .step").first).to_be_visible(timeout=WAIT)  # folded where a result is there
    return page


def given(page: Page, folder: Path) -> Page:
    page.set_input_files("#finetune .folder", folder)
    expect(page.locator("#finetune .data")).to_be_visible(timeout=WAIT)
    return page


def unfold(page: Page, step: str) -> None:
    """Open a step that has been folded."""
    page.locator("#finetune .step > summary").filter(has_text=step).click()


def names(page: Page) -> list[str]:
    return page.locator("#finetune .class .name").evaluate_all("all => all.map(each => each.value)")


def test_three_new_drawings_from_start_to_use(demo_app, open_page, tmp_path):
    page = open_tab(open_page(demo_app))
    page.get_by_role("button", name="Sample images").click()
    expect(page.locator("#finetune .data")).to_contain_text("3 classes", timeout=WAIT)
    expect(page.locator("#finetune .data")).to_contain_text("30 photos for training, 6 for validation")
    assert names(page) == ["anchor", "guitar", "snowman"]
    assert page.locator("#finetune .thumbs img").count() == 18
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)
    shown = float(re.search(r"[\d.]+", page.locator("#finetune .result .figure").inner_text())[0])
    assert shown >= 90
    expect(page.locator("#finetune .verdict")).to_contain_text("not clearly better than its 5 nearest neighbours")
    expect(page.locator("#finetune .learning-text")).to_contain_text("Done.")
    expect(page.locator("#finetune .result .about")).to_contain_text("36 photos, each by a head that had not learned from it")
    expect(page.locator("#finetune .start")).to_be_hidden()  # its step is folded now
    unfold(page, "Train")
    assert page.locator("#finetune .guess").count() == 8
    expect(page.locator("#finetune .baselines")).to_contain_text("5 nearest neighbours")
    page.get_by_text("Run this elsewhere").click()
    commands = page.locator("#finetune .elsewhere pre").all_inner_texts()
    assert commands[0] == "python -m vitdemo finetune PHOTOS --output MODEL --model demo"
    assert commands[1].startswith("accelerate launch --config_file accelerate.yaml -m vitdemo finetune PHOTOS")
    assert "num_processes: 2" in commands[2]
    assert commands[3].endswith("--engine ray --address auto --processes 2")
    cell = page.locator("#finetune .matrix button").first
    count = int(cell.inner_text())
    cell.click()
    expect(page.locator("#finetune .cell img")).to_have_count(count)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    download.value.save_as(tmp_path / "model.zip")
    inside = {Path(name).name for name in zipfile.ZipFile(tmp_path / "model.zip").namelist()}
    assert inside == {"README.md", "config.json", "model.safetensors", "familiarity.safetensors", "report.json"}
    page.get_by_role("button", name="Use this model").click()
    expect(page.locator("#finetune .used")).to_contain_text("Every tab now uses this model", timeout=WAIT)
    expect(page.locator("#model-status")).to_contain_text("3 classes")
    page.get_by_role("tab", name="Classify").click()
    page.locator("#examples button").first.click()
    expect(page.locator("#answer li:not([hidden]) .label").first).to_have_text(re.compile("anchor|guitar|snowman"), timeout=WAIT)


def test_a_reload_finds_the_run(demo_app, open_page):
    page = open_tab(open_page(demo_app))
    page.get_by_role("button", name="Sample images").click()
    expect(page.locator("#finetune .data")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .learning")).to_be_visible(timeout=WAIT)
    page.reload()
    open_tab(page)
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)


def test_photos_are_tried_and_runs_are_kept(demo_app, open_page, picture, tmp_path):
    page = open_tab(open_page(demo_app, sample=True))
    page.get_by_role("button", name="Sample images").click()
    expect(page.locator("#finetune .data")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.get_by_role("tab", name="Fine-tune")).to_have_class(re.compile("at-work"))
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("tab", name="Fine-tune")).not_to_have_class(re.compile("at-work"))
    page.set_input_files("#finetune .try", picture)
    tested = page.locator("#finetune .tested")
    expect(tested.locator("li")).to_have_count(6, timeout=WAIT)
    expect(tested.locator("h3")).to_have_text(["Your model", "Before"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the photo").click()
    expect(tested).not_to_have_attribute("aria-busy", "true", timeout=WAIT)
    page.get_by_role("button", name="Close", exact=True).click()
    (tmp_path / "words.png").write_text("no photo")
    page.set_input_files("#finetune .try", tmp_path / "words.png")
    expect(page.locator("#finetune .tester-problem")).to_contain_text("words.png", timeout=WAIT)
    expect(tested).to_be_hidden()  # the photo before is not the one that can't be read

    rows = page.locator("#finetune .run-row")
    expect(rows).to_have_count(1)
    unfold(page, "Train")
    page.get_by_text("Advanced settings").click()
    smoothing, differing = page.locator("#finetune [data-name=label_smoothing]"), page.locator("#finetune .differing")
    expect(differing).to_be_hidden()
    usual = smoothing.input_value()
    smoothing.fill("0.2")
    expect(differing.locator("span")).to_have_text("Changed from “Head only (fast)”: label smoothing.")
    page.get_by_text("Advanced settings").click()  # also when they are folded
    differing.get_by_role("button", name="Reset").click()
    expect(differing).to_be_hidden()
    expect(smoothing).to_have_value(usual)
    page.get_by_text("Advanced settings").click()
    smoothing.fill("0.2")
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(rows).to_have_count(2, timeout=WAIT)
    expect(page.locator("#finetune .step", has_text="Result").locator(".step-said")).to_have_text("")  # this run has no result yet
    expect(rows.first.locator(".run-figure")).to_contain_text("%", timeout=WAIT)
    expect(rows.first).to_have_class(re.compile("shown"))
    expect(rows.first.locator(".run-asked")).to_contain_text("label smoothing 0.2")
    rows.last.locator(".run-title").fill("The first")
    rows.last.locator(".run-title").press("Enter")
    expect(rows.last.locator(".run-title")).to_have_attribute("value", "The first", timeout=WAIT)
    rows.last.get_by_role("button", name="Show").click()
    expect(rows.last).to_have_class(re.compile("shown"), timeout=WAIT)
    follow_its_name(page, rows.last)
    rows.first.get_by_role("button", name="Compare").click()
    expect(page.locator("#finetune .run-said")).to_contain_text("On the same 36 photos", timeout=WAIT)
    page.reload()
    open_tab(page)
    expect(rows).to_have_count(2, timeout=WAIT)
    rows.first.get_by_role("button", name="Remove").click()
    expect(rows).to_have_count(1, timeout=WAIT)


def follow_its_name(page: Page, row: Locator) -> None:
    """A run's model has the run's name in the header and beside its answer, also after the run is renamed."""
    row.get_by_role("button", name="Use").click()
    expect(page.locator("#model input")).to_have_value(re.compile("Your model"), timeout=WAIT)
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.get_by_role("tab", name="Many photos").click()
    page.locator("#gallery [data-samples=drawings]").click()
    expect(page.locator("#gallery .run-text")).to_contain_text("Done: 126 of 126 photos", timeout=WAIT)
    page.get_by_role("tab", name="One photo").click()
    open_tab(page)
    for name in ("The first", "Shapes"):
        row.locator(".run-title").fill(name)
        row.locator(".run-title").press("Enter")
        expect(page.locator("#model input")).to_have_value(re.compile(f"Your model “{name}” · 3 classes"), timeout=WAIT)
        for tab, place in (("Classify", "#answer"), ("Attention", "#attention .att-name")):
            page.get_by_role("tab", name=tab, exact=True).click()
            expect(page.locator(place)).to_contain_text(name, timeout=WAIT)
        expect(page.locator("#gallery .run-text")).to_contain_text(f"by {name} ·", timeout=WAIT)
        open_tab(page)


def apart(folder: Path) -> None:
    """Many photos of one colour and few of four others: of five neighbours most are of the first."""
    dice = np.random.default_rng(0)
    colours = {(90, 90, 90): 20, (250, 40, 40): 3, (40, 250, 40): 3, (40, 40, 250): 3, (250, 250, 40): 3}
    for colour, count in colours.items():
        for number in range(count):
            save(np.clip(dice.normal(colour, 30, (24, 24, 3)), 0, 255), folder / "-".join(map(str, colour)) / f"{number}.png")


def by_chance(folder: Path) -> None:
    """Noise, of which nobody can tell the class."""
    dice = np.random.default_rng(1)
    for number in range(40):
        save(dice.integers(0, 256, (24, 24, 3)), folder / ("even" if number % 2 else "odd") / f"{number}.png")


def in_flocks(folder: Path) -> None:
    """Flocks of six photos that are nearly the same, each of either class by chance: neighbours tell them, and no plane parts them."""
    dice = np.random.default_rng(2)
    for flock in range(110):
        first, label = dice.integers(0, 256, (4, 4, 3)).repeat(6, 0).repeat(6, 1), ("one", "two")[dice.integers(2)]
        for number in range(6):
            save(np.clip(first + dice.normal(0, 2, (24, 24, 3)), 0, 255), folder / label / f"{flock}-{number}.png")


def left_or_right(folder: Path) -> None:
    """A disc on the left or on the right: a model that learned from mirrored photos hardly tells, and its blocks can learn to."""
    dice = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    for number in range(160):
        x, y, colour = dice.integers(14, 34), dice.integers(20, 76), dice.integers(0, 160, 3)
        disc = (columns - (x if number % 2 else 96 - x)) ** 2 + (rows - y) ** 2 < 12**2
        save(np.where(disc[..., None], colour, 230), folder / ("left" if number % 2 else "right") / f"{number}.png")


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def slow(*values):
    """A case of the slow tier: each takes half a minute or more."""
    return pytest.param(*values, marks=pytest.mark.slow)


ONE_BLOCK = {"unfreeze": "1", "epochs": "1"}
ALL_BLOCKS = {"unfreeze": "all", "epochs": "6", "lr": "0.0005", "layer_decay": "1", "drop_path": "0", "label_smoothing": "0"}
UNMIRRORED = {"augment": "none", "validation": "0.25"}


@pytest.mark.parametrize(
    ("make", "server", "settings", "said"),
    [
        slow(lambda folder: paint(folder, 6, 0), "app", {}, r"^100\.0 % accuracy \(95 % confidence interval: .*Add photos that are harder"),
        slow(apart, "app", {}, r"%\), better than its 5 nearest neighbours"),
        (by_chance, "app", {}, "(not clearly|no) better than always answering the most frequent class .*Check the classes' photos"),
        slow(in_flocks, "app", {}, "worse than its 5 nearest neighbours"),
        slow(lambda folder: paint(folder, 6, 0), "app", ONE_BLOCK, "Use Head only, which is as good here"),
        slow(left_or_right, "demo_app", ALL_BLOCKS | UNMIRRORED, "and better than the head alone"),
    ],
    ids=["perfect", "better", "by chance", "worse", "a tie with the head", "blocks better than the head"],
)
def test_each_kind_of_verdict(make, server, settings, said, request, open_page, tmp_path):
    make(tmp_path / "photos")
    page = given(open_tab(open_page(request.getfixturevalue(server))), tmp_path / "photos")
    expect(page.locator("#finetune .estimate")).to_contain_text("on this machine, by a measured pass", timeout=WAIT)
    if settings:
        page.get_by_text("Advanced settings").click()
    for name, value in settings.items():
        field = page.locator(f"#finetune [data-name={name}]")
        field.select_option(value) if name == "augment" else field.fill(value)
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .verdict")).to_contain_text(re.compile(said), timeout=WAIT)


def test_what_was_given_is_shown_and_can_be_changed(app, open_page, folder):
    page = given(open_tab(open_page(app)), folder)
    data = page.locator("#finetune .data")
    assert names(page) == ["blue", "green", "red"]
    expect(data).to_contain_text("1 photo that can’t be read (“red/broken.png”): left out.")
    expect(data).to_contain_text("1 photo equal to another in its class (“red/again.png”): left out.")
    name = page.locator("#finetune .name").first
    name.fill("<i>cold</i>")
    name.press("Enter")
    expect(page.get_by_role("textbox", name="Name of <i>cold</i>")).to_have_value("<i>cold</i>")
    page.get_by_role("textbox", name="Name of green").fill("<i>cold</i>")
    page.get_by_role("textbox", name="Name of green").press("Enter")
    expect(data.locator("h2")).to_have_text("2 classes")
    page.get_by_role("button", name="Leave red out").click()
    expect(data.locator(".warning")).to_contain_text("There is one class only")
    expect(page.locator("#finetune .start")).to_be_hidden()
    page.get_by_role("button", name="Undo all changes").click()
    expect(data.locator("h2")).to_have_text("3 classes")


def test_splits_are_found_and_can_be_changed(app, open_page, tmp_path):
    for split in ("Training", "Testing"):
        paint(tmp_path / "given" / split, 4, len(split))
    (tmp_path / "given" / "Training" / "red" / "no suffix").write_bytes((tmp_path / "given" / "Testing" / "red" / "0.png").read_bytes())
    (tmp_path / "given" / "notes.txt").write_text("Hello")
    page = given(open_tab(open_page(app)), tmp_path / "given")
    data, testing = page.locator("#finetune .data"), page.get_by_role("combobox", name="Testing")
    expect(testing).to_have_value("test")
    expect(data).to_contain_text("9 photos for training, 3 for validation, 12 for the final test.")
    expect(data).to_contain_text("1 file that is no photo is left out (1 .txt).")
    expect(data).to_contain_text("A leak: 1 photo also in a later one of train, validation and test (“red/no suffix”)")
    testing.select_option("validation")
    expect(data).to_contain_text("12 photos for training, 12 for validation.")
    testing.select_option("a class")
    expect(data.locator("h2")).to_have_text("2 classes")
    assert names(page) == ["Testing", "Training"]
    testing.select_option("training")
    expect(data).to_contain_text("18 photos for training, 6 for validation.")
    page.get_by_role("combobox", name="Training").select_option("left out")
    expect(data).to_contain_text("9 photos for training, 3 for validation.")
    testing.select_option("final test")
    expect(data.locator(".warning")).to_have_text(
        "There is nothing to learn from: take a folder with classes as train, or as train and validation together."
    )
    expect(page.get_by_role("combobox", name="Training")).to_have_value("")
    assert names(page) == ["blue", "green", "red"]
    page.get_by_role("button", name="Undo all changes").click()
    expect(page.get_by_role("combobox", name="Testing")).to_have_value("test")


def test_stop_keeps_what_is_there_and_start_goes_on(app, open_page, folder):
    page = given(open_tab(open_page(app)), folder)
    page.get_by_text("Advanced settings").click()
    for setting, value in (("epochs", "900"), ("patience", "0"), ("batch_size", "4")):
        page.locator(f"#finetune [data-name={setting}]").fill(value)
    page.locator("#finetune [data-name=unfreeze]").fill("1")
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .learning-text")).to_contain_text("Blocks, epoch 2", timeout=WAIT)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#finetune .learning-text")).to_contain_text("Stopped.", timeout=WAIT)
    assert page.locator("#finetune .curve").count() == 3
    assert page.locator("#finetune .curve:nth-child(2) .upwards").inner_text().split() == ["1", "0"]
    assert page.locator("#finetune .curve:nth-child(2) .along").inner_text().split()[:2] == ["head", "epoch"]
    expect(page.locator("#finetune .result")).to_contain_text("Stopped: these are the best weights so far.")
    start = page.locator("#finetune .start")
    expect(start).to_have_text("Resume")
    page.locator("#finetune [data-name=batch_size]").fill("5")
    expect(start).to_have_text("Start over")
    page.locator("#finetune [data-name=batch_size]").fill("4")
    expect(start).to_have_text("Resume")
    unfold(page, "Data")
    page.get_by_role("textbox", name="Name of blue").fill("navy")
    page.get_by_role("textbox", name="Name of blue").press("Enter")
    expect(page.get_by_role("textbox", name="Name of navy")).to_be_visible(timeout=WAIT)
    expect(start).to_have_text("Start training")  # other classes are another training


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("lr", "ten", "“Learning rate of the blocks” is “ten”, but it must be a number")],
)
def test_a_bad_setting_is_told(setting, value, words, app, open_page, folder):
    page = given(open_tab(open_page(app)), folder)
    page.get_by_text("Advanced settings").click()
    page.locator(f"#finetune [data-name={setting}]").fill(value)
    page.locator("#finetune [data-name=warmup]").fill("0")
    expect(page.locator("#finetune .estimate")).to_contain_text(words, timeout=WAIT)  # before anybody starts
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .lesson-error")).to_contain_text(words, timeout=WAIT)
    expect(page.locator("#finetune .start")).to_be_enabled()


def test_one_class_is_refused_with_the_remedy(app, open_page, folder):
    page = open_tab(open_page(app))
    page.set_input_files("#finetune .folder", folder / "red")
    expect(page.locator("#finetune .data .warning")).to_contain_text("at least two classes", timeout=WAIT)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(theme, demo_app, open_page):
    page = open_tab(open_page(demo_app, theme))
    page.get_by_role("button", name="Sample images").click()
    expect(page.locator("#finetune .data")).to_be_visible(timeout=WAIT)
    page.get_by_text("Advanced settings").click()
    page.get_by_role("button", name="Start training", exact=True).click()
    expect(page.locator("#finetune .result .figure")).to_be_visible(timeout=WAIT)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]] == []
