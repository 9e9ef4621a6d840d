"""What is a photo by its name, and by its content; and what is said of all else."""

import io

import pytest
from PIL import Image

from tests.support.heic import DRAWN
from vitdemo.core.photos.kinds import LeftOut, holds_photo, named_as_photo


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "a.jpg_large", "a.jpg?w=640", "a.png:large", "b/a.webp", "a.tar.bmp"])
def test_names_of_photos(name):
    assert named_as_photo(name)


@pytest.mark.parametrize("name", ["a", "a.txt", "jpg", "a.jpg.txt", "a.jpgx", "a.jpg/b", "a.svg", "a.eps", "a.jpg notes"])
def test_names_of_others(name):
    assert not named_as_photo(name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_content_of_photos(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    buffer.seek(0)
    assert holds_photo(buffer)


def test_content_of_a_phones_photo(tmp_path):
    assert holds_photo(DRAWN)
    assert holds_photo(io.BytesIO(DRAWN.read_bytes()))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"P", b"Python", b"P6 x", b"BM", b"II*", b"BM no picture at all, but a text"),
        *(b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0", b"%PDF", b"PK\3\4", b"\0\0\0\x18ftypmp42\0\0\0\0isom"),
    ],
)
def test_content_of_others(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    assert not holds_photo(tmp_path / "a")
    assert not holds_photo(tmp_path)


def test_what_is_left_out_is_counted_by_suffix():
    left_out = LeftOut()
    assert left_out.notes() == []
    for name in ("a/1.txt", "a/2.TXT", "b/c/x", "b/y.zip"):
        left_out.file(name)
    left_out.file("b/.z", "hidden")
    left_out.folder("d/e")
    left_out.photo("a/1.jpg")
    assert left_out.count == 5
    assert left_out.notes() == [
        "5 files that are no photos are left out (2 .txt, 1 .zip, 1 hidden, 1 without a suffix).",
        "No photo was found in “b”, “e”.",
    ]


def test_many_kinds_and_folders_are_a_short_note():
    left_out = LeftOut()
    for number in range(9):
        left_out.file(f"f{number}/x.k{number}")
    files, folders = left_out.notes()
    assert files == "9 files that are no photos are left out (1 .k0, 1 .k1, 1 .k2, 1 .k3, 1 .k4, 1 .k5, 3 more)."
    assert folders == "No photo was found in “f0”, “f1”, “f2” and 6 more folders."
