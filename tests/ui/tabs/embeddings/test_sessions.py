"""Galleries behind the Embeddings tab: vectors, maps, photos, patches and files, each only for those who know the gallery's id."""

import base64
import csv
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.http import answer_of
from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.search import uploaded_items
from vitdemo.embeddings.maps.atlas import MapOptions, draw
from vitdemo.embeddings.maps.nearest import NEAR_DUPLICATE
from vitdemo.embeddings.maps.scores import score_layer
from vitdemo.embeddings.vectors.extract import patch_tokens
from vitdemo.embeddings.vectors.patches import correspondence, patch_colours
from vitdemo.ui.tabs.embeddings import page_data
from vitdemo.ui.tabs.embeddings.downloads import as_script
from vitdemo.ui.tabs.embeddings.maps import FinishedMap, MapKey
from vitdemo.ui.tabs.embeddings.page_data import map_numbers
from vitdemo.ui.tabs.embeddings.routes import REFUSED, EmbeddingsRoutes, original
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs

KEY = {"layer": "final", "pool": "cls", "dimensions": 2, "neighbours": 15, "min_dist": 0.1, "metric": "cosine", "seed": 0}
EVIL = "c<img src=x onerror=alert(1)><!--.png"
NAMES = ["cats/a.png", "cats/b.png", "dogs/broken.png", f"dogs/{EVIL}", "dogs/same as b.png", "dogs/z.png"]


class Here:
    """Draws maps in this process: below five photos nothing has to be compiled."""

    def warm(self):
        pass

    def map(self, vectors, options, start=None):
        yield draw(vectors, options, start)

    def scores(self, layers, labels):
        yield from (score_layer(layer, vectors, labels) for layer, vectors in layers)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        noise(12, 9, number).resize((120, 90)).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no photo")
    (folder / "4.png").write_bytes((folder / "1.png").read_bytes())
    return [(name, folder / f"{number}.png") for number, name in enumerate(NAMES)]


@pytest.fixture
def jobs(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("vitdemo.ui.sessions.gallery_job.get_upload_folder", lambda: str(tmp_path / "uploads"))
    jobs = EmbeddingJobs(ModelStore(Settings(model=f"local-dir:{bundle}", device="cpu", cache_dir=tmp_path / "cache")))
    jobs.mapper = Here()
    return jobs


@pytest.fixture
def job(jobs, files):
    job = jobs.start(uploaded_items(files, jobs.settings), "", "ann")
    until(lambda: job.over and job.maps and job.maps.idle)
    return job


@pytest.fixture
def ask(jobs, job):
    """ask("photo", id=3) → what the page is answered. Raises: UserError with the sentence that it is told."""
    routes = EmbeddingsRoutes(jobs, None)

    def ask(name: str, **asked) -> dict:
        answer = answer_of(routes, name, **{"gallery": job.id, **KEY, **asked})
        if "error" in answer:
            raise UserError(answer["error"])
        return answer

    return ask


def numbers(answer: dict) -> dict[str, np.ndarray]:
    data = Path(answer["path"]).read_bytes()
    return {name: np.frombuffer(data, kind, count, start) for name, (kind, start, count) in answer["sections"].items()}


def test_vectors_maps_and_scores_of_all_layers(job, ask):
    assert (job.state, job.error, job.done) == ("done", "", 6)
    told = ask("poll")
    assert (told["done"], told["total"], told["wrong"]) == (6, 6, 1)
    assert [each["name"] for each in told["errors"]] == ["dogs/broken.png"]
    assert (told["layers"], told["pools"]) == ([1, 2, 3, "final"], ["cls", "mean"])
    for layer in told["layers"]:
        drawn = job.maps.ask(MapKey(layer, "cls"))
        assert isinstance(drawn, FinishedMap)
        assert drawn.atlas.positions.shape == (5, 2)
    first = draw(job.embedding.vectors("final"), MapOptions())
    np.testing.assert_array_equal(numbers(ask("map")["map"])["positions"].reshape(5, 2), first.positions)
    until(lambda: job.maps.idle)
    rows = ask("scores")
    assert rows["complete"]
    distinct, labels = [0, 1, 2, 4], ["cats", "cats", "dogs", "dogs"]
    for row in rows["scores"]:
        score = score_layer(row["layer"], job.embedding.vectors(row["layer"])[distinct], labels)
        assert (row["accuracy"], row["silhouette"]) == (score.accuracy, score.silhouette)


def test_the_page_gets_photos_by_their_numbers_in_the_gallery(job, ask):
    photos = ask("poll")["photos"]
    rows = json.loads(Path(photos["rows"]).read_text("utf-8"))
    assert [(row["id"], row["name"]) for row in rows] == [(number, name) for number, name in enumerate(NAMES) if number != 2]
    assert [row["duplicate"] for row in rows] == [None, None, None, "cats/b.png", None]
    assert all(row["probability"] == done.predictions[0].probability for row, done in zip(rows, job.maps.rows, strict=True))
    pictures = numbers({"path": photos["thumbnails"], **photos})
    starts = pictures["starts"]
    for place in range(5):
        with Image.open(io.BytesIO(pictures["bytes"][starts[place] : starts[place + 1]].tobytes())) as image:
            assert image.width == 96


def test_a_folder_written_in_two_ways_is_one_on_the_map(job):
    row = replace(job.maps.rows[0], folder="cafe\u0301")
    assert page_data._photo_row(0, row, job.title(row.folder))["folder"] == "caf\u00e9"


def test_a_photo_with_its_neighbours(jobs, job, ask):
    told = ask("photo", id=3)
    assert (told["name"], told["folder"], told["grid"]) == (f"dogs/{EVIL}", "dogs", [14, 14])
    vectors = job.embedding.vectors("final")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = dict(zip([0, 1, 3, 4, 5], unit @ unit[2], strict=True))
    del alike[3]
    assert [each["id"] for each in told["neighbours"]] == sorted(alike, key=lambda each: -alike[each])
    assert [each["similarity"] for each in told["neighbours"]] == pytest.approx(sorted(alike.values(), reverse=True), abs=1e-6)
    assert ask("photo", id=1)["same"] == [4]
    near = ask("photo", id=3)["almost"]
    assert near == [number for number, each in sorted(alike.items()) if each >= NEAR_DUPLICATE]
    for number in (2, 6, -1, "3", None, True, 1.0):
        with pytest.raises(UserError, match="no such photo" if number is None or type(number) is int else "can't be understood"):
            ask("photo", id=number)
    path = original(jobs, job.id, 5)
    assert Path(path).read_bytes() == job.items[5].path.read_bytes()


def test_a_photo_that_the_model_refuses_says_so(job, jobs, ask, monkeypatch):
    refusing = replace(jobs.vit(job), ood=OodDetector(torch.zeros(1, 48), torch.eye(48), 1, refuses=True))
    monkeypatch.setattr(jobs, "vit", lambda job: refusing)
    rows = [replace(row, predictions=()) if row.path == NAMES[1] else row for row in job.embedding.rows]
    monkeypatch.setattr(job.embedding, "rows", rows)
    told = ask("photo", id=1)
    assert (told["predictions"], told["notes"]) == ([], [REFUSED])
    assert REFUSED not in ask("photo", id=3)["notes"]


def test_patches_of_several_photos(jobs, job, ask, vit, engine, files):
    import torch

    inputs = torch.stack([vit.preprocessing(open_photo(files[number][1], Settings()).image) for number in (5, 0)])
    tokens = patch_tokens(vit, engine, inputs, 2).numpy()
    told = ask("alike", ids=[5, 0], layer=2, row=3, column=13)
    assert told["shape"] == [2, 14, 14]
    heats = np.frombuffer(base64.b64decode(told["heats"]), "<f4").reshape(2, 14, 14)
    np.testing.assert_allclose(heats, correspondence(tokens, 0, 3, 13), atol=1e-4)
    assert heats[0, 3, 13] == pytest.approx(1, abs=1e-5)
    told = ask("colours", ids=[5, 0], layer=2)
    colours, foreground = patch_colours(tokens)
    found = np.frombuffer(base64.b64decode(told["foreground"]), np.uint8).reshape(2, 14, 14)
    assert (found == foreground).mean() > 0.98
    pixels = np.frombuffer(base64.b64decode(told["colours"]), np.uint8).reshape(2, 14, 14, 3)
    assert np.abs(pixels / 255 - colours).mean() < 0.02
    for wrong in ({"row": 14, "column": 0}, {"row": -1, "column": 0}, {"row": "3", "column": 0}, {"row": True, "column": 0}):
        with pytest.raises(UserError, match="no such patch"):
            ask("alike", ids=[5], layer=2, **wrong)
    for ids in ([], None, list(range(13)), "5"):
        with pytest.raises(UserError, match="from 1 to 12 photos" if isinstance(ids, list | None) else "can't be understood"):
            ask("colours", ids=ids, layer=2)
    with pytest.raises(UserError, match="no such photo"):
        ask("colours", ids=[[5]], layer=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer": 4}, "Choose a layer from 1 to 3, or final"),
        ({"layer": True}, "Choose a layer"),
        ({"pool": "max"}, "cls or mean"),
        ({"dimensions": 4}, "2 or 3 dimensions"),
        ({"neighbours": 1}, "2 to 200 neighbours"),
        ({"neighbours": None}, "must be numbers"),
        ({"neighbours": float("nan")}, "must be numbers"),
        ({"min_dist": float("nan")}, "must be numbers"),
        ({"min_dist": 2}, "between 0 and 0.99"),
        ({"metric": "<b>"}, "cosine, euclidean or correlation"),
        ({"seed": -1}, "A seed is"),
        ({"seed": 1e300}, "must be numbers"),
    ],
)
def test_a_map_that_can_not_be_drawn_is_said(ask, change, words):
    with pytest.raises(UserError, match=words):
        ask("map", **change)


def test_files_of_all_and_of_some(job, ask, tmp_path):
    path = ask("download", kind="npz")["path"]
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], job.embedding.vectors("final"))
        assert arrays["paths"].tolist() == [name for name in NAMES if "broken" not in name]
        np.testing.assert_array_equal(arrays["map"], job.maps.ask(MapKey("final", "cls")).atlas.positions)
    path = ask("download", kind="csv", ids=[5, 0, 99])["path"]
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["cats/a.png", "dogs/z.png"]
    near = ask("photo", id=5)["neighbours"]
    assert json.loads(rows[1]["neighbours"]) == [NAMES[each["id"]] for each in near]
    assert json.loads(rows[1]["neighbour_distances"]) == pytest.approx([1 - each["similarity"] for each in near], abs=1e-6)
    assert float(rows[1]["e1"]) == pytest.approx(job.embedding.vectors("final")[4, 0])
    for ids in ([], [2], [99], "all"):
        with pytest.raises(UserError, match="No photos are selected" if isinstance(ids, list) else "can't be understood"):
            ask("download", kind="csv", ids=ids)
    with pytest.raises(UserError, match="no such download"):
        ask("download", kind="exe")


def test_the_page_to_take_away_holds_all_and_no_markup_of_names(job, ask):
    text = Path(ask("download", kind="html")["path"]).read_text("utf-8")
    assert len(re.findall("<script", text)) == 2
    assert len(re.findall("</script", text)) == 2
    assert "onerror=alert" not in re.sub(r"<script type=\"application/json\".*?</script>", "", text, flags=re.DOTALL)
    told = json.loads(re.search(r'id="told">(.*?)</script>', text, re.DOTALL)[1])
    assert [row["name"] for row in told["rows"]] == [name for name in NAMES if "broken" not in name]
    assert [each["layer"] for each in told["maps"]] == [1, 2, 3, "final"]
    assert not re.search(r"(src|href)=[\"']?http", text)
    for each in ("<!--", "</script>", "&amp;", "\u2028"):
        assert each not in as_script(each)
        assert json.loads(as_script(each)) == each


def test_only_who_knows_the_id_is_answered(jobs, job, ask):
    for name in ("poll", "stop", "map", "scores", "photo", "colours", "alike", "download"):
        for unknown in ("", None, 7, job.id[:-1], [job.id]):
            with pytest.raises(UserError, match="not here any more" if isinstance(unknown, str | None) else "can't be understood"):
                ask(name, gallery=unknown)


def test_a_gallery_goes_when_its_visitor_does(jobs, job, ask, monkeypatch):
    monkeypatch.setattr("vitdemo.ui.sessions.gallery_job.CLOSED_SECONDS", 0.05)
    ask("poll")
    assert job.folder.exists()
    jobs.get(job.id, "ann after a reload")
    jobs.leave("ann")
    assert not job.page_closed  # it is another page's by now
    jobs.sweep()
    assert jobs.get(job.id) is job
    jobs.leave("ann after a reload")
    until(lambda: job.closed)
    jobs.sweep()
    assert not job.folder.exists()
    assert job.id not in jobs._jobs
    assert not isinstance(job.maps.ask(MapKey("final", "mean")), FinishedMap)
    assert job.maps.idle  # asked for, but drawn no more


def test_stop_keeps_what_is_through(jobs, files):
    items = uploaded_items([(f"{number}.png", files[0][1]) for number in range(40)], jobs.settings)

    class Stopping(list):
        """Asks to stop once some of it is taken."""

        def __iter__(self):
            for number, item in enumerate(super().__iter__()):
                if number == 30:
                    jobs._jobs[next(iter(jobs._jobs))].stopping.set()
                yield item

    job = jobs.start(Stopping(items), "", "ann")
    until(lambda: job.over)
    assert job.state == "stopped"
    assert 0 < job.done < 40
    assert len(job.maps.rows) == job.done


def test_nothing_that_can_be_read_gives_no_map(jobs, files):
    job = jobs.start(uploaded_items([files[2]], jobs.settings), "", "ann")
    until(lambda: job.over)
    assert (job.state, job.maps) == ("done", None)
    with pytest.raises(UserError, match="no vectors in this gallery"):
        job.mapped()


def test_the_map_asked_for_last_is_drawn_next_and_stop_gives_it_up(jobs, job):
    steps = []

    class Slow(Here):
        def map(self, vectors, options, start=None):
            from vitdemo.embeddings.progress import WorkProgress

            steps.append(options.seed)
            try:
                while options.seed == 1:
                    yield WorkProgress("map", 5, 10)
                    time.sleep(0.01)  # the map's process works
            finally:
                steps.append("closed")
            yield draw(vectors, options, start)

    job.maps._mapper = Slow()
    slow, next_ = MapKey(1, "cls", MapOptions(seed=1)), MapKey(1, "cls", MapOptions(seed=2))
    until(lambda: getattr(job.maps.ask(slow), "phase", "") == "map")
    job.maps.stop()
    until(lambda: job.maps.idle)
    assert steps == [1, "closed"]
    assert job.maps.ask(slow) == "The map was stopped: choose a layer or the settings to draw one."
    until(lambda: isinstance(job.maps.ask(next_), FinishedMap))
    assert job.maps.ask(next_).key == next_


def test_a_map_that_fails_is_said_and_tried_again(job):
    class Broken(Here):
        def map(self, vectors, options, start=None):
            raise UserError("The map's process has ended.")
            yield

    job.maps._mapper = Broken()
    key = MapKey(2, "cls", MapOptions(seed=3))
    until(lambda: job.maps.ask(key) == "The map's process has ended.")
    job.maps._mapper = Here()
    until(lambda: isinstance(job.maps.ask(key), FinishedMap))
    assert map_numbers(job.maps.ask(key))["clusters"].tolist() == [-1] * 5
