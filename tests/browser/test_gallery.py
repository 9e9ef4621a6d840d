"""What a person does with many photos: a folder, a zip, Stop, sort, filter, open, take away; bad ones among good ones."""

import csv
import json
import os
import re
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.apps import Server
from tests.support.pictures import noise, paint
from vitdemo.classify.gallery import classify_gallery
from vitdemo.core.config import Settings
from vitdemo.core.photos.search import find_items

pytestmark = pytest.mark.browser

WAIT = 180_000  # milliseconds: the first map of all has umap compiled


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three class folders of four photos, a duplicate, a broken photo, and files that are none."""
    folder = tmp_path_factory.mktemp("upload") / "things"
    for number, name in enumerate(("apple", "cat", "fish")):
        (folder / name).mkdir(parents=True)
        for index in range(4):
            noise(16, 12, 10 * number + index).resize((160, 120)).save(folder / name / f"{name}{index}.png")
    (folder / "cat" / "again.png").write_bytes((folder / "apple" / "apple0.png").read_bytes())
    (folder / "fish" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "fish" / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def known(folder, vit, engine) -> dict[str, tuple[str, float]]:
    """What the command line's function says of each photo: its name in the page → class and probability."""
    rows = classify_gallery(find_items([folder]), vit, engine, Settings())
    return {
        str(Path(row.path).relative_to(folder.parent)): (row.predictions[0].label.name, row.predictions[0].probability)
        for row in rows
        if row.predictions
    }


CONFLICT = ("things/apple/apple0.png", "things/cat/again.png")  # the same photo


def open_gallery(page: Page) -> Page:
    page.get_by_role("tab", name="Many photos").click()
    expect(page.locator("#gallery .drop")).to_be_visible(timeout=WAIT)
    return page


def finished(page: Page, text: str = "Done") -> None:
    expect(page.locator("#gallery .run-text")).to_contain_text(text, timeout=WAIT)


def names(page: Page) -> list[str]:
    return page.locator("#gallery .rows tbody .open").all_inner_texts()


@pytest.fixture
def done(app, open_page, folder) -> Page:
    page = open_gallery(open_page(app))
    page.set_input_files("#gallery .folder", folder)
    finished(page)
    return page


def test_a_folder_with_its_sub_folders(done, known):
    finished(done, "Done: 14 of 14 photos, 1 of them can't be read")
    rows = done.locator("#gallery .rows tbody tr").evaluate_all(
        """rows => rows.map(row => [row.querySelector(".open").title, row.querySelector(".guess span")?.textContent,
            row.querySelector(".number")?.textContent, row.querySelector(".reason")?.textContent])"""
    )
    assert [row[0] for row in rows] == sorted([*known, "things/fish/broken.jpg"])
    for path, label, percent, reason in rows:
        if path.endswith("broken.jpg"):
            assert reason.startswith("“broken.jpg” ")
        else:
            assert label == known[path][0]
            assert float(re.sub(r"[^\d.]", "", percent)) == pytest.approx(100 * known[path][1], abs=0.06)
    assert done.locator("#gallery .rows img").count() == 13
    expect(done.locator("#gallery .badge")).to_have_text(["original", "label conflict", "duplicate", "label conflict"])


def test_folders_that_name_classes_are_scored(done, known):
    right = sum(Path(path).parent.name == label for path, (label, _) in known.items() if path not in CONFLICT)
    scores = done.locator("#gallery .scores")
    expect(scores).to_contain_text(
        re.compile(rf"{100 * right / 11:.1f} % top-1 and [\d.]+ % top-5 accuracy on the\s+11 photos whose folder names a class")
    )
    expect(scores).to_contain_text("2 photos are copies in folders of different classes: they count neither as correct nor as wrong.")
    expect(done.locator("#gallery .matrix")).to_be_hidden()
    scores.get_by_text("Confusion matrix").click()
    cells = done.locator("#gallery .matrix button").all_inner_texts()
    assert sum(map(int, cells)) == 11
    cell = done.locator("#gallery .matrix button").first
    count, true = int(cell.inner_text()), cell.get_attribute("data-folder")
    cell.click()
    assert len(names(done)) == count
    assert all(folder.endswith(f"/{true}") for folder in done.locator("#gallery .rows .folder").all_inner_texts())
    done.locator("#gallery .chip", has_text="×").click()
    assert len(names(done)) == 14


def test_sort_by_each_column(done, known):
    def values(selector: str) -> list[str]:
        return done.locator(f"#gallery .rows tbody {selector}").all_inner_texts()

    done.get_by_role("button", name="Confidence").click()
    shown = [
        known[path][1] for path in done.locator("#gallery .rows .open").evaluate_all("all => all.map(each => each.title)") if path in known
    ]
    assert shown == sorted(shown, reverse=True)
    expect(done.locator("th[data-sort=probability]")).to_have_attribute("aria-sort", "descending")
    done.get_by_role("button", name="Confidence").click()
    assert names(done)[0] == "broken.jpg"
    done.get_by_role("button", name="Prediction").focus()
    done.keyboard.press("Enter")
    labels = values(".guess > span:first-child")
    assert labels == sorted(labels)
    done.get_by_role("button", name="Photo", exact=True).click()
    assert names(done)[:2] == ["apple0.png", "apple1.png"]


def test_filter_by_words_and_kind(done):
    done.get_by_label("Filter by name or class").fill("fish/fish2")
    assert names(done) == ["fish2.png"]
    done.get_by_label("Filter by name or class").fill("no such thing")
    expect(done.locator("#gallery .shown")).to_have_text("No photo fits this filter.")
    done.get_by_label("Filter by name or class").fill("")
    done.locator("[data-chip=error]").click()
    assert names(done) == ["broken.jpg"]
    done.locator("[data-chip=conflict]").click()
    assert names(done) == ["apple0.png", "again.png"]
    done.locator("[data-chip=all]").first.click()
    assert len(names(done)) == 14


def test_open_a_photo_by_keyboard(done):
    button = done.locator("#gallery .rows button.open").nth(1)
    button.focus()
    done.keyboard.press("Enter")
    expect(done.locator("#gallery .detail .predictions li")).to_have_count(5, timeout=WAIT)
    expect(button).to_have_attribute("aria-expanded", "true")
    assert done.locator("#gallery .detail img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [160, 120]
    done.keyboard.press("Enter")
    expect(done.locator("#gallery .detail")).to_have_count(0)


def test_take_the_answers_away(done, known, tmp_path):
    saved = {}
    for kind in ("csv", "json", "parquet"):
        with done.expect_download() as event:
            done.locator(f"[data-kind={kind}]").click()
        saved[kind] = tmp_path / event.value.suggested_filename
        event.value.save_as(saved[kind])
    rows = json.loads(saved["json"].read_text("utf-8"))
    assert [row["path"] for row in rows] == sorted([*known, "things/fish/broken.jpg"])
    assert {row["path"]: row["predictions"][0]["label"] for row in rows if "predictions" in row} == {
        path: each[0] for path, each in known.items()
    }
    with saved["csv"].open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 13 * 5 + 1
    assert pyarrow.parquet.read_table(saved["parquet"]).num_rows == 14


def test_the_download_takes_what_is_shown_under_a_name_that_says_so(done, vit):
    expect(done.locator("#gallery .download-lead")).to_have_text("Download all 14")
    done.locator("[data-chip=conflict]").click()
    expect(done.locator("#gallery .download-lead")).to_have_text("Download 2 shown")
    with done.expect_download() as event:
        done.locator("[data-kind=json]").click()
    assert re.fullmatch(rf"things-{vit.name}-Label-conflicts-predictions-\d{{4}}-\d\d-\d\d\.json", event.value.suggested_filename)
    rows = json.loads(Path(event.value.path()).read_text("utf-8"))
    assert [(row["path"], row["true_class"], row["correct"], row["duplicate_of"], row["model"]) for row in rows] == [
        (CONFLICT[0], "apple", None, None, vit.name),
        (CONFLICT[1], "cat", None, CONFLICT[0], vit.name),
    ]
    done.get_by_label("Filter by name or class").fill("nothing")
    expect(done.locator("[data-kind=json]")).to_be_disabled()


def test_duplicates_stand_beside_their_originals(app, open_page, tmp_path):
    for name, number in (("a", 0), ("b", 1), ("c", 2), ("d", 1), ("e", 0), ("f", 1)):
        noise(16, 12, number).save(tmp_path / f"{name}.png")
    page = open_gallery(open_page(app))
    page.set_input_files("#gallery .files", sorted(tmp_path.iterdir()))
    finished(page)
    chip = page.locator("[data-chip=duplicate]")
    expect(chip).to_have_text("Duplicates 5")
    chip.click()
    assert names(page) == ["a.png", "e.png", "b.png", "d.png", "f.png"]
    for _ in range(2):  # by name, downwards: the groups stay together
        page.get_by_role("button", name="Photo", exact=True).click()
    assert names(page) == ["b.png", "d.png", "f.png", "a.png", "e.png"]
    page.get_by_label("Filter by name or class").fill("f.png")
    assert names(page) == ["b.png", "d.png", "f.png"]
    expect(page.locator("#gallery .rows .badge")).to_have_text(["original", "duplicate", "duplicate"])


def test_a_wrong_row_says_what_was_right(done, known):
    wrong = sorted(path for path, (label, _) in known.items() if Path(path).parent.name != label and path not in CONFLICT)
    done.locator("[data-chip=wrong]").click()
    rows = done.locator("#gallery .rows tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('.open').title, row.querySelector('.truth').textContent])"
    )
    assert rows == [[path, f"true class: {Path(path).parent.name}"] for path in wrong]
    done.locator("#gallery .rows button.open").first.click()
    expect(done.locator("#gallery .detail")).to_contain_text(f"True class, by its folder: {Path(wrong[0]).parent.name}", timeout=WAIT)


def test_the_first_row_is_in_sight_of_a_small_screen(app, open_page, folder):
    page = open_page(app)
    page.set_viewport_size({"width": 1280, "height": 800})
    open_gallery(page).set_input_files("#gallery .folder", folder)
    finished(page)
    expect(page.locator("#gallery .scores")).to_be_visible()
    box = page.locator("#gallery .rows tbody tr").first.bounding_box()
    assert box["y"] + box["height"] < 700


def select(page: Page, model: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option").filter(has_text=model).click()


@pytest.mark.parametrize("place", ["#gallery", "#embeddings"])
def test_another_model_is_offered_the_gallery(app, open_page, folder, vit, place):
    page = open_page(app)
    if place == "#gallery":
        open_gallery(page)
    else:
        page.get_by_role("tab", name="Embeddings").click()
    page.set_input_files(f"{place} .folder", folder)
    said, again = page.locator(f"{place} .run-text"), page.locator(f"{place} .again")
    expect(said).to_contain_text(f"Done: 14 of 14 photos, 1 of them can't be read · by {vit.name}", timeout=WAIT)
    expect(again).to_be_hidden()
    select(page, "Demo model")
    expect(again).to_have_text("Run again with Demo model", timeout=WAIT)
    assert f"by {vit.name}" in said.inner_text()
    again.click()
    expect(said).to_contain_text("Done: 14 of 14 photos, 1 of them can't be read · by Demo model", timeout=WAIT)
    expect(again).to_be_hidden()
    select(page, vit.name)
    expect(again).to_have_text(f"Run again with {vit.name}", timeout=WAIT)


def test_a_reload_finds_the_gallery_again(done):
    done.reload()
    open_gallery(done)
    finished(done)
    assert len(names(done)) == 14


def test_a_page_that_is_loaded_again_holds_its_galleries_before_their_tabs_are_opened(app, open_page, folder):
    page = open_page(app)
    page.get_by_role("tab", name="Embeddings").click()
    page.set_input_files("#embeddings .folder", folder)
    expect(page.locator("#embeddings .run-text")).to_contain_text("14 of 14 photos", timeout=WAIT)
    id = page.evaluate("sessionStorage.getItem('vitdemo-embeddings')")
    with page.expect_response(lambda answer: answer.url.endswith("/page/embeddings/hold")) as held:
        page.reload()
    assert (held.value.request.post_data_json, held.value.json()) == ({"gallery": id}, {})
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#embeddings .emb")).to_be_visible(timeout=WAIT)


def test_what_has_expired_is_told_with_the_remedy(app, open_page):
    page = open_page(app)
    page.evaluate("for (const tab of ['gallery', 'embeddings', 'finetune', 'export']) sessionStorage.setItem(`vitdemo-${tab}`, 'gone')")
    page.reload()
    for names, said in (
        (("Many photos",), "This gallery is not here any more: give the photos again."),
        (("Embeddings",), "This gallery is not here any more: give the photos again."),
        (("Fine-tune",), "These photos are not here any more: give them again."),
        (("Export",), "This export is not here any more: start again."),
    ):
        for name in names:
            page.get_by_role("tab", name=name).click()
        expect(page.locator("[role=alert]:visible").filter(has_text="not here any more")).to_have_text(said, timeout=WAIT)
        expect(page.locator(".drop.given")).to_have_count(0)


def test_a_zip(app, open_page, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "things.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    page = open_gallery(open_page(app))
    page.set_input_files("#gallery .files", tmp_path / "things.zip")
    finished(page, "Done: 14 of 14 photos")
    assert page.locator("#gallery .rows .open").first.get_attribute("title") == "things.zip/apple/apple0.png"
    page.locator("#gallery .rows button.open").first.click()
    expect(page.locator("#gallery .detail img")).to_be_visible(timeout=WAIT)


def test_stop_keeps_what_is_done(start_app, bundle, open_page, tmp_path):
    slow = start_app("--model", f"local-dir:{bundle}", "--batch-size", "1", OMP_NUM_THREADS="1")
    for number in range(40):
        noise(300, 200, number).resize((2400, 1600)).save(tmp_path / f"{number:02}.jpg")
    page = open_gallery(open_page(slow))
    page.set_input_files("#gallery .files", sorted(tmp_path.iterdir()))
    expect(page.locator("#gallery .rows tbody tr").first).to_be_visible(timeout=WAIT)
    with held(slow):
        page.get_by_role("button", name="Stop").click()
    finished(page, "Stopped after")
    done = int(re.search(r"after (\d+) of 40", page.locator("#gallery .run-text").inner_text())[1])
    assert 0 < done < 40
    assert names(page) == [f"{number:02}.jpg" for number in range(done)]
    with page.expect_download() as event:
        page.locator("[data-kind=json]").click()
    assert len(json.loads(Path(event.value.path()).read_text("utf-8"))) == done
    page.set_input_files("#gallery .files", tmp_path / "00.jpg")  # and the page goes on
    finished(page, "Done: 1 of 1 photo")


def test_what_can_not_be_taken_is_said(start_app, bundle, open_page, tmp_path):
    strict = start_app("--model", f"local-dir:{bundle}", "--max-gallery", "3", "--max-upload-mb", "1")
    page = open_gallery(open_page(strict))
    many = []
    for number in range(4):
        many.append(tmp_path / f"{number}.png")
        noise(8, 8, number).save(many[-1])
    page.set_input_files("#gallery .files", many)
    said = page.locator("#gallery .gallery-error")
    expect(said).to_have_text(
        "These are 4 photos, and the limit here is 3: choose fewer, or run “python -m vitdemo classify FOLDER” on the command line, "
        "which has no limit."
    )
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for path in many:
            archive.write(path, path.name)
    page.set_input_files("#gallery .files", tmp_path / "many.zip")
    expect(said).to_contain_text("These are 4 photos, and the limit here is 3")
    (tmp_path / "no.zip").write_bytes(b"no zip")
    page.set_input_files("#gallery .files", tmp_path / "no.zip")
    expect(said).to_have_text("“no.zip” is damaged or no zip: make it again.")
    (tmp_path / "large.png").write_bytes(bytes(1_100_000))
    page.set_input_files("#gallery .files", tmp_path / "large.png")
    expect(said).to_have_text("“large.png” is larger than 1 MB: save a smaller copy of it.")
    page.set_input_files("#gallery .files", [*many[:2], tmp_path / "large.png"])
    finished(page, "Done: 2 of 2 photos")
    left_out = page.locator("#gallery .left-out")
    expect(left_out).to_have_text("“large.png” is larger than 1 MB and is left out.")
    page.set_input_files("#gallery .files", many[:2])
    expect(left_out).to_be_hidden()
    finished(page, "Done: 2 of 2 photos")


def test_a_photo_that_is_too_large_is_named_in_every_tab(start_app, bundle, open_page, tmp_path):
    page = open_page(start_app("--model", f"local-dir:{bundle}", "--max-upload-mb", "1"))
    folder = paint(tmp_path / "given", 2, 0)
    (folder / "red" / "large.png").write_bytes(bytes(1_100_000))
    (folder / "notes.txt").write_text("Hello")
    places = {"Fine-tune": "#finetune .data", "Export": "#export .notes[data-kind=photos]", "Embeddings": "#embeddings .notes"}
    for tab, place in places.items():
        page.get_by_role("tab", name=tab).click()
        page.set_input_files(f"{place.split()[0]} .folder", folder)
        expect(page.locator(place)).to_contain_text("1 file that is no photo is left out (1 .txt).", timeout=WAIT)
        left_out = page.locator(place.split()[0]).locator(".left-out:visible")
        expect(left_out).to_have_text("“given/red/large.png” is larger than 1 MB and is left out.")


def test_a_name_is_never_html(app, open_page, tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>.png"
    noise(8, 8).save(evil)
    page = open_gallery(open_page(app))
    page.set_input_files("#gallery .files", evil)
    finished(page)
    assert names(page) == [evil.name]
    page.locator("#gallery .rows button.open").click()
    expect(page.locator("#gallery .detail h2")).to_have_text(evil.name, timeout=WAIT)
    assert page.locator("#gallery img[onerror]").count() == 0


def test_photographs_are_the_samples_of_a_model_of_photos(app, open_page):
    page = open_gallery(open_page(app))
    page.get_by_role("button", name="6 sample photos").click()
    finished(page, "Done: 6 of 6 photos")
    assert names(page) == [f"{name}.jpg" for name in ("cheetah", "lion", "tower", "temple", "flower", "officer")]
    select(page, "Demo model")
    expect(page.get_by_role("button", name="6 sample photos")).to_be_hidden(timeout=WAIT)  # it knows drawings alone
    expect(page.get_by_role("button", name="126 sample drawings")).to_be_visible()


def test_the_bundled_drawings_by_their_own_names(app, open_page):
    page = open_gallery(open_page(app))
    page.get_by_role("button", name="126 sample drawings").click()
    finished(page, "Done: 126 of 126 photos")
    titles = page.locator("#gallery .rows .open").evaluate_all("all => all.map(each => each.title)")
    assert len(titles) == 100
    assert all(re.fullmatch(r"[a-z]+/\w+\.\w+", title) for title in titles)  # and no path of the server's
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#gallery .rows .open")).to_have_count(126)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_inside_the_page(app, open_page, folder, theme, width):
    page = open_gallery(open_page(app, theme, width))
    page.set_input_files("#gallery .folder", folder)
    finished(page)
    page.locator("#gallery .rows button.open").first.click()
    expect(page.locator("#gallery .detail img")).to_be_visible(timeout=WAIT)
    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_cameras_names_are_photos_and_hidden_files_are_not(app, open_page, tmp_path):
    for name in ("_DSC0001.jpg", "_MG_0002.jpg", "__MACOSX/a.jpg", ".trash/b.jpg", "._c.jpg"):
        (tmp_path / "card" / name).parent.mkdir(parents=True, exist_ok=True)
        noise(20, 16, len(name)).save(tmp_path / "card" / name)
    page = open_gallery(open_page(app))
    page.set_input_files("#gallery .folder", tmp_path / "card")
    finished(page)
    assert names(page) == ["_DSC0001.jpg", "_MG_0002.jpg"]


def test_an_upload_that_is_stopped_brings_back_what_was_there(done, folder):
    done.route("**/upload*", lambda route: None)  # never arrives
    done.set_input_files("#gallery .files", folder / "cat" / "cat0.png")
    finished(done, "Uploading: 0 of 1 files")
    done.get_by_role("button", name="Stop").click()
    finished(done, "Done: 14 of 14 photos")
    expect(done.locator("#gallery .stop")).to_be_hidden()


def test_a_large_upload_tells_its_megabytes(app, open_page, folder, tmp_path):
    page = open_gallery(open_page(app))
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as archive:
        archive.write(folder / "cat" / "cat0.png", "one.png")
        archive.writestr("padding.bin", bytes(9_000_000))
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3_000_000}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    page.set_input_files("#gallery .files", tmp_path / "large.zip")
    expect(page.locator("#gallery .run-text")).to_have_text(re.compile(r"Uploading: 0 of 1 files, [1-9]\d* of 10 MB"), timeout=WAIT)
    finished(page, "Done: 1 of 1 photo")


def test_a_start_that_never_arrives_is_told(app, open_page, folder):
    page = open_gallery(open_page(app))
    page.route("**/page/classify/start", lambda route: route.abort())
    page.set_input_files("#gallery .files", folder / "cat" / "cat0.png")
    expect(page.locator("#gallery .gallery-error")).to_contain_text("check the connection and give the photos again", timeout=WAIT)
    expect(page.locator("#gallery .run")).to_be_hidden()


def test_an_upload_is_followed_though_a_gallery_runs(at_work, folder):
    page, server = at_work
    page.route("**/upload*", lambda route: None)
    rows = page.locator("#gallery .rows tbody tr")
    with held(server):
        page.set_input_files("#gallery .files", folder / "cat" / "cat0.png")
        finished(page, "Uploading: 0 of 1 files")
        before = rows.count()
    for _ in range(600):
        assert page.locator("#gallery .run-text").inner_text() == "Uploading: 0 of 1 files"
        if rows.count() > before + 1:
            return
        page.wait_for_timeout(100)  # between two looks
    pytest.fail("no new rows while the upload goes on")


def test_new_rows_and_the_end_take_neither_click_nor_focus_away(at_work):
    page, server = at_work
    row = page.locator("#gallery .rows button.open").first
    first = row.element_handle()
    with held(server):
        page.locator("#gallery .chip").first.focus()
        before = page.locator("#gallery .rows tbody tr").count()
    page.wait_for_function("before => document.querySelectorAll('#gallery .rows tbody tr').length > before", arg=before)
    assert page.evaluate("document.activeElement.dataset.chip") == "all"
    row.scroll_into_view_if_needed()
    box = row.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    finished(page, "Done: 80 of 80 photos")
    page.mouse.up()
    expect(page.locator("#gallery tr.detail img")).to_be_visible(timeout=WAIT)
    assert row.bounding_box() == box
    assert first.evaluate("row => row.isConnected")


@pytest.fixture
def at_work(start_app, bundle, open_page, tmp_path) -> tuple[Page, Server]:
    """A gallery that takes a while, with its first rows there, and the app that works at it."""
    slow = start_app("--model", f"local-dir:{bundle}", "--batch-size", "1", OMP_NUM_THREADS="1")
    noise(300, 200).resize((2400, 1600)).save(tmp_path / "00.jpg")
    for number in range(1, 80):  # no two alike
        (tmp_path / f"{number:02}.jpg").write_bytes((tmp_path / "00.jpg").read_bytes() + bytes([number]))
    page = open_gallery(open_page(slow))
    page.set_input_files("#gallery .files", sorted(tmp_path.iterdir()))
    expect(page.locator("#gallery .rows tbody tr").first).to_be_visible(timeout=WAIT)
    return page, slow


@contextmanager
def held(server: Server) -> Iterator[None]:
    """The app stands still meanwhile: what the test does comes before its next rows, on a fast machine as well."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_server_that_is_gone_is_said(done):
    done.route("**/page/classify/**", lambda route: route.abort())
    done.locator("#gallery .rows button.open").first.click()
    expect(done.locator("#gallery .detail")).to_have_text("The photo could not be fetched: try again.")
    done.locator("[data-kind=csv]").click()
    expect(done.locator("#gallery .gallery-error")).to_have_text("The download failed: try again.")


def test_every_number_of_the_confusion_matrix_shows_its_photos(done, known):
    done.locator("#gallery .scores summary").click()
    cells = done.locator("#gallery .matrix button")
    others = {label for path, (label, _) in known.items() if label not in ("apple", "cat", "fish") and path not in CONFLICT}
    assert set(done.locator("#gallery .matrix th.other").all_inner_texts()) == others
    assert sum(map(int, cells.all_inner_texts())) == 11
    for number in range(cells.count()):
        cells.nth(number).click()
        assert len(names(done)) == int(cells.nth(number).inner_text())
