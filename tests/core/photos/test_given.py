"""Where the files made of a command's photos belong."""

import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.names import MAX_FILE_BYTES
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.given import photos_given, places_for

SUFFIXES = (".png", ".npz")


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """Folders of photos, with names that meet, and a zip."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/cats/1.jpg", "a/cats/2.jpg", "a/dogs/1.jpg", "b/1.jpg", "alone.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise(8, 8).save(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        for name in ("in/1.jpg", "1.jpg"):
            file.write(tmp_path / "b/1.jpg", name)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a"], ["cats/1", "cats/2", "dogs/1"]),
        (["a/cats"], ["1", "2"]),
        (["./a/../a/cats/"], ["1", "2"]),
        (["a/cats", "a/dogs"], ["cats/1", "cats/2", "dogs/1"]),
        (["b", "alone.png"], ["b/1", "alone"]),
        (["alone.png"], ["alone"]),
        (["a/cats/1.jpg", "a/dogs/1.jpg"], ["cats/1", "dogs/1"]),
        (["a/*/1.jpg"], ["cats/1", "dogs/1"]),
        (["a/**/*.jpg"], ["cats/1", "cats/2", "dogs/1"]),
        (["z.zip"], ["in/1", "1"]),
        (["z.zip", "b"], ["z.zip/in/1", "z.zip/1", "b/1"]),
        (["b", "b", "b/1.jpg"], ["1", "1-2", "1-3"]),
    ],
)
def test_places_follow_what_was_given(tree, given, expected):
    assert list(map(str, places_for(given, photos_given(given, Settings()), SUFFIXES))) == expected


def test_urls(tree):
    given = [f"file://{tree}/a"]
    assert list(map(str, places_for(given, photos_given(given, Settings()), SUFFIXES))) == ["cats/1", "cats/2", "dogs/1"]
    given = [f"file://{tree}/b/1.jpg", str(tree / "a" / "cats")]  # these have no folder in common
    places = places_for(given, photos_given(given, Settings()), SUFFIXES)
    assert [place.name for place in places] == ["1", "1", "2"]
    assert not any(place.is_absolute() for place in places)


def places_of(*names: str) -> list[str]:
    items = [Item(Path("/x.zip"), f"/x.zip/{name}", "x", number=number) for number, name in enumerate(names)]
    return list(map(str, places_for(["/x.zip"], items, SUFFIXES)))


def test_names_that_meet_get_numbers():
    assert places_of("a.jpg", "a.png", "A.jpeg", "a-2.jpg", "d/a.jpg") == ["a", "a-2", "A-3", "a-2-2", "d/a"]
    assert places_of("café.jpg", "cafe\u0301.jpg") == ["café", "cafe\u0301-2"]  # one name on macOS
    assert places_of("a.jpg", "a.png/b.jpg", "a.npz/c.jpg") == ["a-2", "a.png/b", "a.npz/c"]  # a file can't stand where a folder is
    assert places_of(*["a.jpg"] * 2000)[-1] == "a-2000"


@pytest.mark.parametrize(
    "name",
    ["../../up.jpg", "...jpg", "..jpg", "d/....jpg", "/etc/passwd", "a\0b.jpg", "d/" * 2000 + "a.jpg", "é" * 300 + ".jpg", ".jpg", "-"],
)
def test_a_hostile_name_stays_in_the_folder(name, tmp_path):
    (place,) = map(PurePosixPath, places_of(name))
    assert ".." not in place.parts
    assert not place.is_absolute()
    assert all(len(part.encode()) <= MAX_FILE_BYTES for part in place.parts)
    path = Path(tmp_path, "out", f"{place}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert path.resolve().is_relative_to(tmp_path / "out")
