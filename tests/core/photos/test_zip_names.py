"""Names in zips: the flag, the Unicode path, UTF-8, and a guess, in this order; and Info-ZIP's own zips."""

import os
import shutil
import struct
import subprocess
import zipfile
import zlib

import pytest

from tests.cases.inputs import write_zip
from tests.support.pictures import png
from vitdemo.core.config import Settings
from vitdemo.core.photos.search import find_items
from vitdemo.core.photos.zip_names import names_of

GREETINGS = {
    "gb18030": ("猫/照片.jpg", "狗/b.jpg", "联通/c.jpg"),
    "big5": ("貓/相片.jpg", "狗/b.jpg"),
    "cp932": ("猫/写真.jpg", "犬/b.jpg", "表/ソ.jpg", "能/d.jpg"),
    "cp949": ("고양이/사진.jpg", "강아지/b.jpg"),
    "cp1251": ("кошки/фото.jpg", "собаки/b.jpg"),
    "cp866": ("кот/1.jpg", "пёс/2.jpg", "ёлка/3.jpg"),
    "cp437": ("café/a.jpg", "Löwe/b.jpg", "Übung/c.jpg"),
}


def member(raw: bytes, *, extra: bytes = b"", utf8: bool = False) -> zipfile.ZipInfo:
    """A member as zipfile reads it from a list of entries."""
    made = zipfile.ZipInfo("x")
    made.flag_bits, made.extra = (1 << 11 if utf8 else 0), extra
    made.filename = raw.decode("utf-8" if utf8 else "cp437")
    return made


def unicode_path(name: str, raw: bytes) -> bytes:
    field = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x5455, 1) + b"\0" + struct.pack("<HH", 0x7075, len(field)) + field


def test_the_flag_and_the_unicode_path_come_first():
    gbk = "狗/b.jpg".encode("gbk")
    members = [member("猫/a.jpg".encode(), utf8=True), member(gbk, extra=unicode_path("犬/b.jpg", gbk)), member("ü.jpg".encode())]
    found = names_of(members)
    assert (found.names, found.guessed) == (["猫/a.jpg", "犬/b.jpg", "ü.jpg"], "")


@pytest.mark.parametrize("damage", ["crc", "version", "bytes", "short"])
def test_a_unicode_path_of_another_name_is_no_name(damage):
    raw = b"a.jpg"
    extra = unicode_path("b.jpg", b"other" if damage == "crc" else raw)
    if damage == "version":
        extra = extra.replace(b"\1" + struct.pack("<L", zlib.crc32(raw)), b"\2" + struct.pack("<L", zlib.crc32(raw)))
    if damage == "bytes":
        extra = extra[:-1] + b"\xff"
    if damage == "short":
        extra = extra[:10]
    assert names_of([member(raw, extra=extra)]).names == ["a.jpg"]


@pytest.mark.parametrize("encoding", GREETINGS)
def test_an_encoding_is_guessed_from_all_names_together(encoding):
    found = names_of([member(name.encode(encoding)) for name in GREETINGS[encoding]])
    assert (found.names, found.guessed) == (list(GREETINGS[encoding]), encoding)


def test_names_in_gbk_that_happen_to_be_utf_8():
    found = names_of([member(f"{name}/1.jpg".encode("gbk")) for name in ("图片1", "图片2")])
    assert (found.names, found.guessed) == (["图片1/1.jpg", "图片2/1.jpg"], "gb18030")
    for names in (["Thư mục/ảnh.jpg", "ơ/1.jpg"], ["ёж/1.jpg", "Löwe/2.jpg"], ["Ελλάδα/1.jpg"], ["ñandú/1.jpg"], ["è/1.jpg"]):
        assert names_of([member(name.encode()) for name in names]).names == names


def test_an_encoding_that_is_given_is_not_guessed():
    raw = "γάτα/1.jpg".encode("cp1253")
    assert names_of([member(raw)], "cp1253").names == ["γάτα/1.jpg"]
    assert names_of([member(b"\xff\x81.jpg")], "ascii").names == ["\\xff\\x81.jpg"]
    assert names_of([member(raw)], "cp1253").guessed == ""


def test_backslashes_are_folders_only_where_all_names_use_them_so():
    def read(*names: str) -> list[str]:
        return names_of([member(name.encode()) for name in names]).names

    assert read("cat\\a.jpg", "b.jpg") == ["cat/a.jpg", "b.jpg"]
    assert read("cat/a\\1.jpg", "b\\2.jpg") == ["cat/a\\1.jpg", "b\\2.jpg"]
    assert read("cat\\a.jpg", "__MACOSX/._a.jpg")[0] == "cat/a.jpg"


def test_the_operator_may_say_the_encoding(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"γάτα/1.png": png(8, 8)}, "cp1253")
    (item,) = found = find_items([path], Settings(zip_encoding="cp1253"))
    assert (item.folder, item.read(Settings()), found.notes) == ("γάτα", png(8, 8), [])
    (note,) = find_items([path]).notes
    assert note.startswith("“a.zip” does not say how its names are written: they are read as cp")
    assert note.endswith("make the zip again with names in UTF-8, or give --zip-encoding.")


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP's zip is not installed")
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_zips_of_info_zip(tmp_path, encoding):
    for name in ("猫", "狗"):
        folder = os.path.join(os.fsencode(tmp_path), b"given", name.encode(encoding))
        os.makedirs(folder)
        with open(os.path.join(folder, b"1.png"), "wb") as file:
            file.write(png(8, 8))
    subprocess.run(["zip", "-qr", "../a.zip", "."], cwd=tmp_path / "given", check=True, env={**os.environ, "LC_ALL": "C"})
    assert sorted(item.folder for item in find_items([tmp_path / "a.zip"])) == sorted("猫狗")
