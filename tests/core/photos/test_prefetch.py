"""Photos ahead of the model: all of them, in order, each decoded once, a few at a time, and stopped when nobody wants them."""

import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo, id_of
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead, sum_up
from vitdemo.core.photos.search import find_items


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(30):
        noise(24, 16, number).save(tmp_path / f"{number:02}.png")
    return tmp_path


def name(photo: Photo) -> str:
    time.sleep(0.02 if photo.name.endswith("0.png") else 0)  # so that some finish after those behind them
    return photo.name


def test_every_photo_in_order(folder):
    ready = list(photos_ahead(find_items([folder]), name, Settings(), ahead=8, workers=4))
    assert [each.made for each in ready] == [f"{number:02}.png" for number in range(30)]
    assert [each.index for each in ready] == list(range(30))
    assert all(each.id == id_of(each.item.path.read_bytes()) and each.error is None and each.first is None for each in ready)


def test_no_more_are_under_way_than_asked_for(folder):
    begun = []
    stream = photos_ahead(find_items([folder]), lambda photo: begun.append(photo.name), Settings(), ahead=5, workers=4)
    for taken in range(1, 10):
        next(stream)
        time.sleep(0.02)  # in which more could begin
        assert len(begun) <= taken + 5
    stream.close()


def test_duplicates_are_decoded_once(folder):
    again = [folder / f"{number:02}.png" for number in (3, 7, 3, 3, 9, 7)]
    decoded = []
    lock = threading.Lock()

    def prepare(photo: Photo) -> str:
        with lock:
            decoded.append(photo.name)
        return photo.name

    ready = list(photos_ahead(find_items(again), prepare, Settings(), ahead=6, workers=4))
    assert sorted(decoded) == ["03.png", "07.png", "09.png"]
    assert [each.made for each in ready] == ["03.png", "07.png", None, None, "09.png", None]
    assert [each.first for each in ready] == [None, None, 0, 0, None, 1]
    assert ready[2].id == ready[0].id


def test_a_bad_file_is_an_error_among_the_others_under_its_own_name(folder):
    for bad in ("05a.png", "05b.png"):
        (folder / bad).write_bytes(b"the same nonsense")
    (folder / "05c.png").touch()
    ready = list(photos_ahead([*find_items([folder]), *find_items([folder / "gone.png"])], name, Settings(), ahead=8, workers=4))
    wrong = {each.item.shown: each.error for each in ready if each.error}
    assert {shown: error.split(":")[0] for shown, error in wrong.items()} == {
        "05a.png": "“05a.png” is not a photo that can be read here",
        "05b.png": "“05b.png” is not a photo that can be read here",
        "05c.png": "“05c.png” is empty (0 bytes)",
        "gone.png": "“gone.png” is not there",
    }
    assert sum(each.made is not None for each in ready) == 30


def test_closing_stops_the_workers(folder):
    done = []
    stream = photos_ahead(find_items([folder]), lambda photo: done.append(time.sleep(0.02)), Settings(), ahead=20, workers=2)
    next(stream)
    stream.close()
    time.sleep(0.1)  # what had begun ends
    count = len(done)
    assert count < 12
    time.sleep(0.1)  # and nothing more begins
    assert len(done) == count


def test_a_fault_of_ours_is_not_taken_for_a_bad_file(folder):
    def fail(photo: Photo) -> None:
        raise ZeroDivisionError("seven")

    with pytest.raises(ZeroDivisionError, match="seven"):
        list(photos_ahead(find_items([folder]), fail, Settings(), ahead=4))


def test_nothing():
    assert list(photos_ahead([], name, Settings(), ahead=4)) == []


def test_batches_count_only_what_the_model_sees(folder):
    (folder / "01.png").write_bytes(b"bad")
    items = find_items([folder])
    items.insert(4, Item(folder / "03.png", "again"))
    ready = list(photos_ahead(items, name, Settings(), ahead=8))
    parts = list(batches(iter(ready), 4))
    assert [each for part in parts for each in part] == ready
    assert [sum(each.made is not None for each in part) for part in parts] == [4, 4, 4, 4, 4, 4, 4, 1]
    assert [each.item.shown for each in parts[0]] == ["00.png", "01.png", "02.png", "03.png", "again", "04.png"]


def test_thousands_that_the_model_need_not_see_come_bit_by_bit():
    def ready():
        yield PreparedPhoto(0, None, made="a")
        yield from (PreparedPhoto(index, None, first=0) for index in range(1, 1000))

    parts = list(batches(ready(), 4))
    assert [each.index for part in parts for each in part] == list(range(1000))
    assert max(map(len, parts)) == 16


def test_what_is_known_is_not_decoded(folder):
    items = find_items([folder])
    kept = {id_of(items[number].path.read_bytes()): f"known {number}" for number in (0, 7, 29)}
    (folder / "30.png").write_bytes(items[7].path.read_bytes())
    decoded = []

    def prepare(photo: Photo) -> str:
        decoded.append(photo.name)
        return photo.name

    ready = list(photos_ahead(find_items([folder]), prepare, Settings(), ahead=8, workers=4, known=kept.get))
    assert [ready[number].made for number in (0, 7, 29)] == ["known 0", "known 7", "known 29"]
    assert (ready[30].first, ready[30].made) == (7, None)
    assert sorted(decoded) == [f"{number:02}.png" for number in range(30) if number not in (0, 7, 29)]


def test_notes_are_summed_up():
    white, frame = "Transparent parts are shown on white.", "This file has several frames."
    assert sum_up([(), (white,), (frame, white)]) == [f"2 photos: {white}", f"1 photo: {frame}"]
    assert sum_up([()]) == []
    many = sum_up([(f"Range 0 to {number}.",) for number in range(9)])
    assert many == ["9 photos: Range … to …."]
    assert sum_up([("Range 0 to 7.5e-3.",)] * 2) == ["2 photos: Range 0 to 7.5e-3."]
    various = sum_up([(f"Note {letter}.",) for letter in "abcdefghi"])
    assert (len(various), various[-1]) == (7, "There are 3 more notes on single photos.")


def test_what_decoding_changed_is_told(tmp_path):
    Image.new("RGBA", (8, 8)).save(tmp_path / "a.png")
    (ready,) = photos_ahead(find_items([tmp_path]), lambda photo: 1, Settings(), ahead=2)
    assert ready.notes == ("Transparent parts are shown on white.",)
