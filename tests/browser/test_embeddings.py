"""What a person does with a gallery's map: give, hover, open, lasso, scrub through the layers, take away; beside another visitor."""

import base64
import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib.path import Path as Outline
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.names import plain_name
from vitdemo.core.photos.search import find_items
from vitdemo.embeddings.vectors.gallery import EmbeddingGallery
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.embeddings.downloads import page_of
from vitdemo.ui.templating import bundled

pytestmark = pytest.mark.browser

WAIT = 180_000  # milliseconds: the first map of all has umap compiled
PHOTOS = 25  # that can be read
MAP = "document.querySelector('#embeddings .map-canvas').photoMap"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three folders of eight photos each, a duplicate, a broken photo, and a file that is none."""
    folder = tmp_path_factory.mktemp("upload") / "things"
    for kind, name in enumerate(("cats", "dogs", "<b>fish")):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            picture = np.asarray(noise(16, 12, 10 * kind + index).resize((160, 120)), float) * 0.4
            picture[..., kind] += 140
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name.strip('<>b')}{index}.png")
    (folder / "dogs" / "zz again.png").write_bytes((folder / "cats" / "cats0.png").read_bytes())
    (folder / "cats" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def known(folder, vit, engine, tmp_path_factory) -> EmbeddingGallery:
    """The same folder by this project's science."""
    embedding = EmbeddingGallery(find_items([folder]), vit, engine, Settings(cache_dir=tmp_path_factory.mktemp("known")))
    for _ in embedding.work():
        pass
    return embedding


def visit(open_page, app, theme="light", width=1280) -> Page:
    page = open_page(app, theme, width)
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#embeddings .drop")).to_be_visible(timeout=WAIT)
    return page


def mapped(page: Page) -> Page:
    """Wait for the map, until its points have come to rest and all layers' maps are drawn."""
    expect(page.locator("#embeddings .emb")).to_be_visible(timeout=WAIT)
    page.wait_for_function(f"{MAP}.positions && !{MAP}.moving", timeout=WAIT)
    return page


@pytest.fixture
def done(app, open_page, folder) -> Page:
    page = visit(open_page, app)
    page.set_input_files("#embeddings .folder", folder)
    return mapped(page)


def state(page: Page) -> dict:
    """What the map has: each point's id, its place on the page, and what is chosen."""
    page.locator("#embeddings .map-canvas").scroll_into_view_if_needed()
    found = page.evaluate(
        f"(() => {{ const map = {MAP}; map.draw(); return {{ids: map.ids, x: [...map.x], y: [...map.y], mask: [...map.mask],"
        f" positions: [...map.positions], dimensions: map.dimensions}}; }})()"
    )
    box = page.locator("#embeddings .map-canvas").bounding_box()
    found["x"], found["y"] = np.array(found["x"], float) + box["x"], np.array(found["y"], float) + box["y"]
    return found


def lonely(found: dict, among: np.ndarray | slice = slice(None)) -> int:
    """Which of some points is farthest from the nearest of all others."""
    places = np.stack([found["x"], found["y"]], 1)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places)) * 1e9
    return int(apart.min(1)[among].argmax())


def names(page: Page) -> dict[int, str]:
    """The photos by the ids of their points: the page asks for this file itself."""
    titles = page.locator("#embeddings .emb-picked .emb-tile").evaluate_all("all => all.map(each => [Number(each.dataset.id), each.title])")
    return {number: title.split(" · ")[0] for number, title in titles}


def around_some(page: Page, places: np.ndarray) -> np.ndarray:
    """(12, 2): a ring around a group of points, through the widest gap between it and the others, wherever the map has laid them."""
    apart = np.sort(np.linalg.norm(places[:, None] - places[None], axis=-1), 1)  # (point, rank): to itself, to the nearest, …
    gaps = np.diff(apart[:, 2:-4], axis=1)
    middle, rank = np.unravel_index(gaps.argmax(), gaps.shape)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = places[middle] + apart[middle, 2 + rank : 4 + rank].mean() * np.stack([np.cos(angles), np.sin(angles)], 1)
    box = page.locator("#embeddings .map-canvas").bounding_box()
    return ring.clip([box["x"] + 1, box["y"] + 1], [box["x"] + box["width"] - 1, box["y"] + box["height"] - 1])


def lasso(page: Page, corners: np.ndarray) -> None:
    page.get_by_role("radio", name="Lasso").click()
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in (*corners[1:], corners[0]):
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def test_hover_shows_a_card_and_a_click_opens_the_photo_with_its_neighbours(done, known):
    expect(done.locator("#embeddings .run-text")).to_contain_text("26 of 26 photos, 1 of them can't be read")
    expect(done.locator("#embeddings .emb-errors summary")).to_have_text("1 photo was left out")
    found = state(done)
    assert len(found["ids"]) == PHOTOS
    point = lonely(found)
    row = known.done[point]
    done.mouse.move(found["x"][point] + 2, found["y"][point] - 2)
    card = done.locator("#embeddings .map-card")
    expect(card.locator("strong")).to_have_text(Path(row.path).name)
    expect(card).to_contain_text(row.predictions[0].label.name)
    expect(card).to_contain_text(f"folder {row.folder}")
    assert card.locator("img").evaluate("image => image.naturalWidth") == 96
    done.mouse.down()
    done.mouse.up()
    expect(done.locator("#embeddings .emb-name")).to_have_text(Path(row.path).name, timeout=WAIT)
    vectors = known.vectors("final")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = np.sort(np.delete(unit @ unit[point], point))[::-1][:8]
    shown = [float(each) for each in done.locator("#embeddings .emb-near small").all_inner_texts()]
    assert shown == pytest.approx(alike.tolist(), abs=6e-4)
    chances = [float(re.sub(r"[^\d.]", "", each)) for each in done.locator("#embeddings .emb-predictions span + span").all_inner_texts()]
    assert chances == pytest.approx([100 * each.probability for each in row.predictions], abs=0.06)
    done.locator("#embeddings .emb-near .emb-tile").first.click()
    expect(done.locator("#embeddings .emb-name")).not_to_have_text(Path(row.path).name, timeout=WAIT)


def test_lasso_and_box_choose_and_grey_the_others(done, known, tmp_path):
    found = state(done)
    places = np.stack([found["x"], found["y"]], 1)
    corners = around_some(done, places)
    inside = Outline(corners).contains_points(places)
    assert 1 < inside.sum() < PHOTOS
    done.locator("#embeddings .map-colour").select_option("probability")  # no names between the points
    chosen, other = (np.flatnonzero(each)[lonely(found, each)] for each in (inside, ~inside))
    before = [strength(done, found, point) for point in (chosen, other)]
    lasso(done, corners)
    expect(done.locator("#embeddings .emb-count")).to_have_text(f"{inside.sum()} photos selected")
    assert state(done)["mask"] == inside.astype(int).tolist()
    wanted = {row.path.split("things/")[1] for row, chosen in zip(known.done, inside, strict=True) if chosen}
    assert {name.removeprefix("things/") for name in names(done).values()} == wanted
    with done.expect_download() as event:
        done.locator("#embeddings [data-chosen] [data-kind=csv]").click()
    with open(event.value.path(), newline="", encoding="utf-8") as file:
        assert {row["path"].removeprefix("things/") for row in csv.DictReader(file)} == wanted
    assert strength(done, found, chosen) == pytest.approx(before[0], abs=3)
    assert 2 < strength(done, found, other) < before[1] / 2  # greyed, not hidden

    done.get_by_role("radio", name="Box").click()
    low, high = places.min(0) - 15, places.max(0) + 15
    done.mouse.move(*low)
    done.mouse.down()
    done.mouse.move(*high, steps=5)
    done.mouse.up()
    expect(done.locator("#embeddings .emb-count")).to_have_text(f"{PHOTOS} photos selected")
    done.locator("#embeddings .emb-clear").click()
    assert sum(state(done)["mask"]) == 0
    done.locator("#embeddings .map-colour").select_option("folder")
    done.locator("#embeddings .map-entry", has_text="dogs").click()
    expect(done.locator("#embeddings .emb-count")).to_have_text("9 photos selected")


def strength(page: Page, found: dict, point: int) -> float:
    """How far the canvas's colour at a point is from its ground, 0 … 441."""
    box = page.locator("#embeddings .map-canvas").bounding_box()
    page.evaluate("new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown)))")  # what was asked for is drawn
    pixels = page.evaluate(
        "places => { const canvas = document.querySelector('#embeddings .map-canvas'); const ratio = canvas.width / canvas.clientWidth;"
        " return places.map(([x, y]) => [...canvas.getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data]); }",
        [[2, 2], [found["x"][point] - box["x"], found["y"][point] - box["y"]]],
    )
    return float(np.linalg.norm(np.subtract(*pixels)))


def colours(page: Page) -> dict[str, str]:
    """The groups of the legend and their colours."""
    named = "all => all.map(each => [each.querySelector('span').textContent, each.querySelector('i').style.getPropertyValue('--swatch')])"
    return dict(page.locator("#embeddings .map-legend .map-entry:not(.none)").evaluate_all(named))


def test_points_move_from_layer_to_layer(done):
    expect(done.locator("#embeddings .lay-bars button.best")).to_have_count(1, timeout=WAIT)
    before, coloured = np.array(state(done)["positions"]), colours(done)
    done.locator("#embeddings .lay-range").focus()
    done.keyboard.press("ArrowLeft")
    expect(done.locator("#embeddings .emb-title")).not_to_contain_text("the last norm", timeout=WAIT)
    again = colours(done)
    assert (both := coloured.keys() & again.keys())
    assert {name: again[name] for name in both} == {name: coloured[name] for name in both}  # a name keeps its colour
    done.keyboard.press("Home")
    expect(done.locator("#embeddings .emb-title")).to_have_text(f"{PHOTOS} photos in layer 1", timeout=WAIT)
    on_the_way = done.evaluate(f"{MAP}.moving && [[...{MAP}.positions], [...{MAP}.moving.to]]")
    done.wait_for_function(f"!{MAP}.moving")
    after = np.array(state(done)["positions"])
    assert np.abs(after - before).max() > 0.01
    if on_the_way:
        np.testing.assert_allclose(on_the_way[1], after, rtol=1e-5)
        assert np.abs(np.array(on_the_way[0]) - after).max() > 0
    expect(done.locator("#embeddings .lay-text")).to_have_text("layer 1")
    done.locator("#embeddings .lay-play").click()
    expect(done.locator("#embeddings .emb-title")).to_have_text(f"{PHOTOS} photos in the final layer", timeout=WAIT)
    expect(done.locator("#embeddings .lay-play")).to_have_attribute("aria-pressed", "false", timeout=WAIT)
    done.wait_for_function(f"!{MAP}.moving")
    np.testing.assert_allclose(state(done)["positions"], before, atol=1e-5)  # the same map again
    done.get_by_role("radio", name="Mean of patches").click()
    expect(done.locator("#embeddings .emb-facts")).to_contain_text("mean of patches", timeout=WAIT)


def test_the_strip_shows_each_layers_score(done, known):
    from sklearn.neighbors import KNeighborsClassifier

    expect(done.locator("#embeddings .lay-bars button.best")).to_have_count(1, timeout=WAIT)
    done.wait_for_function("[...document.querySelectorAll('#embeddings .lay-bars button')].every(each => each.title.includes('accuracy'))")
    rows = [place for place, row in enumerate(known.done) if row.duplicate_of is None]
    labels = np.array([known.done[place].folder for place in rows])
    wanted = []
    for layer in known.layers:
        vectors, right = known.vectors(layer)[rows], 0
        for out in range(len(rows)):
            others = np.arange(len(rows)) != out
            judge = KNeighborsClassifier(5, metric="cosine", weights="distance").fit(vectors[others], labels[others])
            right += judge.predict(vectors[out : out + 1])[0] == labels[out]
        wanted.append(right / len(rows))
    titles = done.locator("#embeddings .lay-bars button").evaluate_all("all => all.map(each => each.title)")
    shown = [float(re.search(r"accuracy ([\d.]+)", title)[1]) for title in titles]
    assert shown == pytest.approx(wanted, abs=0.0006)
    assert ["the best" in title for title in titles].index(True) == int(np.argmax(wanted))


def test_zoom_pan_and_keys(done):
    canvas = done.locator("#embeddings .map-canvas")
    before = state(done)
    middle = np.array([before["x"].mean(), before["y"].mean()])
    done.mouse.move(*middle)
    done.mouse.wheel(0, -300)
    done.wait_for_function(f"{MAP}.camera.zoom > 1.2")
    zoomed = state(done)
    assert np.ptp(zoomed["x"]) > 1.2 * np.ptp(before["x"])
    done.mouse.move(*middle)
    done.mouse.down()
    done.mouse.move(middle[0] + 50, middle[1] - 30, steps=5)
    done.mouse.up()
    moved = state(done)
    assert (moved["x"] - zoomed["x"]).mean() == pytest.approx(50, abs=1)
    assert (moved["y"] - zoomed["y"]).mean() == pytest.approx(-30, abs=1)
    canvas.focus()
    done.keyboard.press("0")
    np.testing.assert_allclose(state(done)["x"], before["x"], atol=0.5)
    done.keyboard.press("+")
    assert done.evaluate(f"{MAP}.camera.zoom") == pytest.approx(1.4)
    done.keyboard.press("-")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        done.keyboard.press(key)
    point = done.evaluate(f"{MAP}.current")
    assert point >= 0
    expect(done.locator("#embeddings .map-said")).to_contain_text(", folder ")
    name = done.locator("#embeddings .map-card strong").inner_text()
    assert done.locator("#embeddings .map-said").inner_text().startswith(name)
    done.keyboard.press("Enter")
    expect(done.locator("#embeddings .emb-name")).to_have_text(name, timeout=WAIT)
    done.keyboard.press("Escape")
    expect(done.locator("#embeddings .emb-open")).to_be_hidden()


def test_in_space_a_drag_turns_the_map(done):
    done.get_by_role("radio", name="3-D").click()
    done.wait_for_function(f"{MAP}.dimensions === 3 && !{MAP}.moving", timeout=WAIT)
    before = state(done)
    assert len(before["positions"]) == 3 * PHOTOS
    box = done.locator("#embeddings .map-canvas").bounding_box()
    done.mouse.move(box["x"] + 200, box["y"] + 200)
    done.mouse.down()
    done.mouse.move(box["x"] + 320, box["y"] + 200, steps=6)
    done.mouse.up()
    after = state(done)
    np.testing.assert_allclose(after["positions"], before["positions"])
    assert np.abs(after["x"] - before["x"]).max() > 10
    done.get_by_role("radio", name="2-D").click()
    done.wait_for_function(f"{MAP}.dimensions === 2 && !{MAP}.moving", timeout=WAIT)


def test_colours_photos_and_settings(done, known):
    for by, words in (("label", known.done[0].predictions[0].label.name), ("probability", "%"), ("remote", "five nearest")):
        done.locator("#embeddings .map-colour").select_option(by)
        expect(done.locator("#embeddings .map-legend")).to_contain_text(words)
        named = done.locator("#embeddings .map-legend [data-entry]").count() > 0
        expect(done.locator("#embeddings .emb-by-name")).to_be_visible(visible=named)
        assert named or by != "label"
        assert len(set(done.evaluate(f"[...{MAP}.codes]"))) > 1 or by == "label"
    done.get_by_role("radio", name="Photos", exact=True).click()
    done.wait_for_function(f"[...{MAP}.thumbnails.drawn].every(each => each === 2)")
    before = state(done)["positions"]
    done.locator("#embeddings .emb-settings summary").click()
    done.get_by_label("Seed").fill("7")
    done.get_by_role("button", name="Update map", exact=True).click()
    done.wait_for_function(f"{MAP}.moving", timeout=WAIT)
    done.wait_for_function(f"!{MAP}.moving")
    assert np.abs(np.array(state(done)["positions"]) - before).max() > 0.01
    done.get_by_label("Neighbours", exact=True).fill("900")
    done.get_by_role("button", name="Update map", exact=True).click()
    expect(done.locator("#embeddings .emb-problem")).to_have_text("A map takes 2 to 200 neighbours; 900 were asked for.")
    done.get_by_label("Neighbours", exact=True).fill("")
    done.get_by_role("button", name="Update map", exact=True).click()
    expect(done.locator("#embeddings .emb-problem")).to_contain_text("must be numbers")


def open_photo(page: Page) -> None:
    found = state(page)
    point = lonely(found)
    page.mouse.click(found["x"][point], found["y"][point])
    expect(page.locator("#embeddings .emb-near .emb-tile")).to_have_count(8, timeout=WAIT)


def test_patches_as_colours_and_by_likeness(done):
    open_photo(done)
    done.get_by_role("radio", name="Patch PCA").click()
    patches = done.locator("#embeddings .emb-patches")
    done.wait_for_function("document.querySelector('#embeddings .emb-patches').width === 14", timeout=WAIT)
    assert done.locator("#embeddings .emb-near canvas").evaluate_all("all => all.map(each => each.width)") == [14] * 8
    done.get_by_role("radio", name="Patch similarity").click()
    expect(done.locator("#embeddings .emb-patch")).to_be_visible(timeout=WAIT)
    box = patches.bounding_box()
    patches.click(position={"x": box["width"] * 2.5 / 14, "y": box["height"] * 10.5 / 14})
    hottest = """() => {
        const canvas = document.querySelector('#embeddings .emb-patches');
        if (document.querySelector('#embeddings [aria-busy]')) return null;
        const alphas = canvas.getContext('2d').getImageData(0, 0, 14, 14).data.filter((_, at) => at % 4 === 3);
        return alphas[10 * 14 + 2] === Math.max(...alphas);
    }"""
    done.wait_for_function(f"({hottest})()", timeout=WAIT)
    patches.focus()
    done.keyboard.press("ArrowDown")
    expect(patches).to_have_attribute("aria-description", "Patch in row 12 of 14, column 3 of 14")


def test_a_photo_goes_to_attention(done):
    open_photo(done)
    name = done.locator("#embeddings .emb-name").inner_text()
    done.get_by_role("button", name="Send to Attention").click()
    expect(done.locator("#attention .att-name")).to_contain_text(name, timeout=WAIT)
    expect(done.locator("#attention")).to_have_attribute("data-state", "ready", timeout=WAIT)


def test_take_it_away(done, known, browser):
    files = {}
    for kind in ("npz", "csv", "parquet", "png", "svg", "html"):
        with done.expect_download() as event:
            done.locator(f"#embeddings .emb-away [data-kind={kind}]").click()
        title = done.locator("#embeddings .run-text").inner_text().partition(" · by ")[2].partition(" ·")[0]
        what = "map" if kind in ("png", "svg") else "embeddings"
        name = rf"\w+-{plain_name(title)}-layer-final-cls-{what}-\d{{4}}-\d\d-\d\d\.{kind}"
        assert re.fullmatch(name, event.value.suggested_filename)
        expect(done.locator("#embeddings .emb-took")).to_have_text(f"Saved as {event.value.suggested_filename}.")
        files[kind] = Path(event.value.path())
    found = state(done)
    with np.load(files["npz"]) as arrays:
        np.testing.assert_allclose(arrays["embeddings"], known.vectors("final"), atol=1e-4)
        positions = arrays["map"]
    np.testing.assert_allclose(positions.ravel(), found["positions"], atol=1e-6)
    for axis, places in enumerate((found["x"], found["y"])):  # the screen is the map, scaled and moved
        assert abs(np.corrcoef(positions[:, axis], places)[0, 1]) == pytest.approx(1, abs=1e-5)
    with files["csv"].open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == PHOTOS + 1
    assert pyarrow.parquet.read_table(files["parquet"]).num_rows == PHOTOS + 1
    with Image.open(files["png"]) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    svg = files["svg"].read_text("utf-8")
    assert svg.count("<circle") >= PHOTOS
    assert "<b>" not in svg

    context = browser.new_context(offline=True)
    page = context.new_page()
    requests, faults = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    alone = files["html"].rename(files["html"].with_suffix(".html"))
    page.goto(alone.as_uri())
    there = page.evaluate(
        "(() => { const map = document.querySelector('.map-canvas').photoMap; map.draw(); return [[...map.x], [...map.y]]; })()"
    )
    assert len(there[0]) == PHOTOS
    box = page.locator(".map-canvas").bounding_box()
    page.mouse.move(box["x"] + there[0][0], box["y"] + there[1][0])
    expect(page.locator(".map-card strong")).to_be_visible()
    assert page.locator(".map-card img").evaluate("image => image.naturalWidth") == 96
    page.locator(".lay-range").focus()
    page.keyboard.press("Home")
    expect(page.locator(".page-facts")).to_contain_text("layer 1")
    assert [each for each in requests if not each.startswith(("file:", "data:", "blob:"))] == []
    assert faults == []
    context.close()


def test_the_script_of_the_map_alone_declares_each_name_once(browser):
    page = browser.new_page()
    page.evaluate("script => { new Function(script); }", bundled("photo_map/page"))
    page.close()


def test_two_visitors_at_once_have_each_their_own(app, open_page, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        for path in sorted((folder / "cats").glob("*.png")):
            archive.write(path, f"half/{path.name}")
    ann, bob = visit(open_page, app), visit(open_page, app)
    ann.set_input_files("#embeddings .folder", folder)
    bob.set_input_files("#embeddings .files", tmp_path / "half.zip")
    assert len(state(mapped(ann))["ids"]) == PHOTOS
    assert len(state(mapped(bob))["ids"]) == 8
    assert ann.evaluate("sessionStorage['vitdemo-embeddings']") != bob.evaluate("sessionStorage['vitdemo-embeddings']")
    for page in (ann, bob):
        page.locator("#embeddings .lay-range").focus()
        page.keyboard.press("Home")
    for page in (ann, bob):
        expect(page.locator("#embeddings .emb-title")).to_contain_text("in layer 1", timeout=WAIT)


def test_a_reload_finds_the_map_again(done):
    before = state(done)["positions"]
    done.reload()
    done.get_by_role("tab", name="Embeddings").click()
    np.testing.assert_allclose(state(mapped(done))["positions"], before)


def test_stop_keeps_what_is_through(start_app, bundle, open_page, tmp_path):
    slow = start_app("--model", f"local-dir:{bundle}", "--batch-size", "1", OMP_NUM_THREADS="1")
    for number in range(40):
        noise(300, 200, number).resize((2400, 1600)).save(tmp_path / f"{number:02}.jpg")
    page = visit(open_page, slow)
    page.set_input_files("#embeddings .files", sorted(tmp_path.iterdir()))
    expect(page.locator("#embeddings .run-text")).to_contain_text(re.compile(r"^[1-9]\d* of 40 photos.* left$"), timeout=WAIT)
    page.locator("#embeddings .stop").click()
    count = len(state(mapped(page))["ids"])
    assert 0 < count < 40
    expect(page.locator("#embeddings .run-text")).to_contain_text(f"Stopped after {count} of 40 photos")
    slow.stop()


def test_a_gallery_that_is_gone_is_said(app, open_page):
    page = open_page(app)
    page.evaluate("sessionStorage.setItem('vitdemo-embeddings', 'removed')")
    page.get_by_role("tab", name="Embeddings").click()
    expect(page.locator("#embeddings .gallery-error")).to_have_text(
        "This gallery is not here any more: give the photos again.", timeout=WAIT
    )
    expect(page.locator("#embeddings .emb-empty")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('vitdemo-embeddings')") is None


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_photos(app, open_page, folder, count):
    page = visit(open_page, app)
    page.set_input_files("#embeddings .files", sorted((folder / "cats").glob("*.png"))[:count])
    found = state(mapped(page))
    assert len(found["ids"]) == count
    assert np.isfinite(found["x"]).all()
    page.mouse.click(found["x"][0], found["y"][0])
    expect(page.locator("#embeddings .emb-near .emb-tile")).to_have_count(count - 1, timeout=WAIT)
    expect(page.locator("#embeddings .emb-name")).to_contain_text("cats")


def test_nothing_readable_and_all_the_same(app, open_page, folder, tmp_path):
    page = visit(open_page, app)
    page.set_input_files("#embeddings .files", folder / "cats" / "broken.jpg")
    expect(page.locator("#embeddings .gallery-error")).to_have_text("None of these photos can be read: give others.", timeout=WAIT)
    page.locator("#embeddings .emb-errors summary").click()
    expect(page.locator("#embeddings .emb-errors li")).to_contain_text("“broken.jpg” ")
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes((folder / "cats" / "cats0.png").read_bytes())
    page.set_input_files("#embeddings .files", sorted(tmp_path.iterdir()))
    found = state(mapped(page))
    assert len(found["ids"]) == 6
    assert np.ptp(found["x"]) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_inside_the_page(app, open_page, folder, theme, width):
    page = visit(open_page, app, theme, width)
    page.set_input_files("#embeddings .folder", folder)
    mapped(page)
    open_photo(page)
    page.get_by_role("radio", name="Patch similarity").click()
    check(page)
    if width < 700:
        page.locator("#embeddings .emb-close").click()  # a sheet over the screen's lower part
    page.locator("#embeddings .emb-settings summary").click()
    check(page)
    page.locator("#embeddings .emb-tabs [data-value=groups]").click()
    page.locator("#embeddings .map-entry").first.click()
    check(page)


def check(page: Page) -> None:
    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_five_thousand_points_are_drawn_frame_by_frame(browser, tmp_path, capsys):
    count, dice = 5000, np.random.default_rng(0)
    positions = (dice.normal(size=(40, 2)) * 6)[dice.integers(0, 40, count)] + dice.normal(size=(count, 2))
    picture = io.BytesIO()
    noise(96, 96).save(picture, "JPEG")
    pictures, where = pack(
        {"starts": np.arange(count + 1, dtype=np.uint32) * picture.tell(), "bytes": np.frombuffer(picture.getvalue() * count, np.uint8)}
    )
    numbers, sections = pack(
        {
            "positions": positions.astype(np.float32),
            "clusters": dice.integers(-1, 12, count).astype(np.int32),
            "membership": np.ones(count, np.float32),
            "remote": dice.random(count).astype(np.float32),
            "outlying": np.zeros(count, np.uint8),
        }
    )
    rows = [
        {"id": each, "name": f"{each}.jpg", "folder": "", "label": "thing", "probability": 0.5, "duplicate": None} for each in range(count)
    ]
    shown = {
        "layer": 1,
        "data": text_of(numbers),
        "sections": sections,
        "names": [f"group {each}" for each in range(12)],
        "dimensions": 2,
        "trust": 0.9,
    }
    told = {
        "model": "made up",
        "pool": "cls",
        "layer": 1,
        "rows": rows,
        "thumbnails": {"data": text_of(pictures), "sections": where},
        "maps": [shown],
    }
    (tmp_path / "map.html").write_text(page_of("5,000 points", told), "utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    page = context.new_page()
    page.goto((tmp_path / "map.html").as_uri())
    page.wait_for_function("document.querySelector('.map-canvas').photoMap.positions")
    said = []
    for name, before in (("dots", ""), ("photos", "[data-value=photos]"), ("lasso", "[data-value=lasso]")):
        if before:
            page.locator(before).click()
            page.wait_for_function("document.querySelector('.map-canvas').photoMap.thumbnails.busy === 0", timeout=WAIT)
        frames, drawn = page.evaluate(FRAMES)
        assert drawn > 5
        said.append(f"{name}: {len(frames)} frames, median {np.median(frames):.1f} ms, 95 % {np.quantile(frames, 0.95):.1f} ms")
    with capsys.disabled():
        print("\n5,000 points while they are panned and zoomed, " + "; ".join(said))
    context.close()


# Pan and zoom for two seconds, one event a frame; the time between frames, and how many were drawn.
FRAMES = """async () => {
    const canvas = document.querySelector(".map-canvas");
    const map = canvas.photoMap;
    const box = canvas.getBoundingClientRect();
    const send = (kind, x, y, more = {}) => {
        const Kind = kind === "wheel" ? WheelEvent : PointerEvent;
        const place = {clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true, cancelable: true};
        canvas.dispatchEvent(new Kind(kind, {...place, ...more}));
    };
    canvas.setPointerCapture = () => {};
    const draw = map.draw.bind(map);
    let drawn = 0;
    map.draw = () => { drawn++; draw(); };
    const frames = [];
    let last = performance.now();
    send("pointerdown", 300, 200);
    for (const began = last; performance.now() - began < 2000;) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
        const angle = frames.length / 12;
        send("pointermove", 300 + 120 * Math.cos(angle), 200 + 90 * Math.sin(angle));
        if (frames.length % 3 === 0) send("wheel", 300, 200, {deltaY: 40 * Math.sin(angle)});
    }
    send("pointerup", 300, 200);
    map.draw = draw;
    return [frames.slice(1), drawn];
}"""


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_parts_are_painted_wherever_they_occur(done):
    open_photo(done)
    done.get_by_role("radio", name="Parts").click()
    canvas, why = done.locator("#embeddings .emb-patches"), done.locator("#embeddings .emb-view-why")
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    done.wait_for_function(f"(({pixels})(document.querySelector('#embeddings .emb-patches'))).length === 784", timeout=WAIT)
    expect(why).to_contain_text("a colour each", timeout=WAIT)
    expect(done.locator("#embeddings .emb-parts-stop")).to_be_hidden()
    colours = {tuple(each) for each in np.reshape(canvas.evaluate(pixels), (-1, 4)).tolist()}
    assert 2 <= len(colours) <= 16
    assert min(each[3] for each in colours) > 100
    canvas.click()
    expect(why).to_contain_text("of the photos. ", timeout=WAIT)
    expect(done.locator("#embeddings .emb-near-title")).to_contain_text("Nearest to part")
    assert done.locator("#embeddings .emb-near .emb-tile canvas:not([hidden])").count() >= 1
    canvas.click()
    expect(why).to_contain_text("a colour each", timeout=WAIT)
    done.locator("#embeddings .emb-views").get_by_role("radio", name="Photo").click()
