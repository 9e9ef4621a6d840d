"""Galleries: which files belong to one, what they are called, and zips read where they lie."""

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.search import clean_names, find_items, uploaded_items


def found(paths) -> list[Path]:
    items = find_items(paths)
    assert all(item.name == str(item.path) for item in items)
    return [item.path for item in items]


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    noise(20, 16, seed).save(buffer, "PNG")
    return buffer.getvalue()


def make_zip(path: Path, members: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_folder(tmp_path):
    for name in (
        "z.JPG",
        "a.png",
        "b/2.jpeg",
        "b/10.jpeg",
        "b/c/d/deep.webp",
        "B/x.avif",
        "notes.txt",
        "b/data.csv",
        "noend",
        "pipe",
        ".hidden.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "in.gif").touch()
    expected = ["a.png", "z.JPG", "B/x.avif", "b/10.jpeg", "b/2.jpeg", "b/c/d/deep.webp", "folder.png/in.gif"]
    assert found([tmp_path]) == [tmp_path / each for each in expected]
    assert found([str(tmp_path)]) == found([tmp_path])
    assert find_items([tmp_path]).notes == [
        "6 files that are no photos are left out (2 without a suffix, 1 .csv, 1 .txt, 1 hidden, 1 hidden folder)."
    ]


def test_files_given_by_name_are_all_kept_in_order(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "in.png").touch()
    given = [tmp_path / "notes.txt", tmp_path / "gone.jpg", tmp_path / "f", tmp_path / ".hidden.png", tmp_path / "gone.jpg"]
    assert found(given) == [*given[:2], tmp_path / "f" / "in.png", *given[3:]]
    assert found([]) == []


def test_a_name_that_can_be_no_folder_is_kept(tmp_path):
    """So that it becomes a row with its reason, instead of ending the whole gallery."""
    for name in ("a" * 300 + ".jpg", "nul\0.jpg"):
        assert found([tmp_path / name]) == [tmp_path / name]


def test_folders_are_labels_and_a_file_by_itself_has_none(tmp_path):
    for name in ("top.png", "cat/a.png", "cat/deep/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [item.folder for item in find_items([tmp_path])] == [tmp_path.name, "cat", "deep"]
    assert [item.folder for item in find_items([tmp_path / "cat" / "a.png"])] == [""]


def test_a_folder_given_from_inside_still_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").touch()
    monkeypatch.chdir(tmp_path / "cat")
    assert [(item.name, item.folder) for item in find_items(["."])] == [("a.png", "cat")]


def test_a_zip_is_read_where_it_lies(tmp_path):
    members = {"cat/a.png": png(1), "dog/b.PNG": png(2), "notes.txt": b"x", "__MACOSX/cat/._a.png": b"x", ".git/c.png": b"x", "cat/": b""}
    path = make_zip(tmp_path / "Photos.ZIP", members)
    before = sorted(tmp_path.iterdir())
    items = find_items([path])
    assert [(item.name, item.folder, item.shown) for item in items] == [
        (f"{path}/cat/a.png", "cat", "a.png"),
        (f"{path}/dog/b.PNG", "dog", "b.PNG"),
    ]
    assert [item.read(Settings()) for item in items] == [png(1), png(2)]
    assert sorted(tmp_path.iterdir()) == before


def test_a_zip_in_a_folder_is_a_folder_and_a_damaged_one_its_own_fault(tmp_path):
    make_zip(tmp_path / "b.zip", {"cat/1.png": png()})
    (tmp_path / "a.zip").write_bytes(b"no zip")
    (tmp_path / ".c.zip").write_bytes(b"")
    bad, good = find_items([tmp_path])
    assert (good.name, good.folder, good.read(Settings())) == (f"{tmp_path}/b.zip/cat/1.png", "cat", png())
    assert bad.name == f"{tmp_path}/a.zip"
    with pytest.raises(UserError) as refused:
        bad.read(Settings())
    assert str(refused.value) == "“a.zip” is damaged or no zip: make it again."


def test_a_damaged_zip_among_uploaded_files_is_its_own_fault(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    bad, good = uploaded_items([("f/a.zip", tmp_path / "a.zip"), ("f/b.png", tmp_path / "b.png")], Settings())
    assert (bad.error, good.name) == ("“a.zip” is damaged or no zip: make it again.", "f/b.png")
    with pytest.raises(UserError, match="damaged or no zip"):
        uploaded_items([("a.zip", tmp_path / "a.zip")], Settings())


def test_what_hides_in_a_zip_is_not_unpacked_to_be_known(tmp_path):
    """A member without a suffix whose header says that it is a photo, and whose rest is zeros."""
    for head in (b"RIFF\0\0\0\x10WEBPVP8 ", b"II*\0" + struct.pack("<L", 90_000_000)):
        path = make_zip(tmp_path / "a.zip", {"a/x": head + bytes(100_000_000), "b.png": png()}, compression=zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        assert len(uploaded_items([("a.zip", path)], Settings())) == 2
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2_000_000


def test_many_folders_without_photos(tmp_path):
    """So many that to compare each with each would take minutes."""
    path = make_zip(tmp_path / "a.zip", {**{f"a{number}/b/": b"" for number in range(20_000)}, "c/1.png": png()})
    assert uploaded_items([("a.zip", path)], Settings()).notes == ["No photo was found in “b”, “b”, “b” and 19,997 more folders."]


def test_a_pattern_does_not_follow_links_back(tmp_path, monkeypatch):
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "1.png").write_bytes(png())
    (tmp_path / "red" / "loop").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    items = find_items(["**/*"])
    assert [item.name for item in items] == ["red/1.png"]
    assert items.notes == ["“loop” is a link back to a folder that it lies in: left out."]
    assert find_items(["."]).notes == items.notes


def test_names_in_a_zip_lead_nowhere(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"../../../etc/evil.png": png(), "C:/Users/me/x.png": png(), "/abs/y.png": png()})
    assert [item.name for item in uploaded_items([("a.zip", path)], Settings())] == [
        "a.zip/C:/Users/me/x.png",
        "a.zip/abs/y.png",
        "a.zip/etc/evil.png",
    ]


def test_an_empty_zip_has_no_photos(tmp_path):
    path = make_zip(tmp_path / "a.zip", {})
    assert find_items([path]) == []
    with pytest.raises(UserError, match="There are no photos in what you gave"):
        uploaded_items([("a.zip", path)], Settings())


def test_zips_that_can_not_be_read(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"no zip")
    whole = make_zip(tmp_path / "whole.zip", {"a.png": png()}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    for name in ("no.zip", "cut.zip"):
        with pytest.raises(UserError) as refused:
            find_items([tmp_path / name])
        assert str(refused.value) == f"“{name}” is damaged or no zip: make it again."
    with pytest.raises(UserError, match=r"“gone\.zip” is not there"):
        find_items([tmp_path / "gone.zip"])


def test_a_damaged_and_a_locked_member_are_their_own_fault(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"good.png": png(1), "bad.png": png(2), "locked.png": png(3)})
    data = bytearray(path.read_bytes())
    data[data.index(png(2)) + 40] ^= 255
    entry = data.rindex(b"locked.png") - 46  # the central directory's record of it
    assert data[entry : entry + 4] == b"PK\1\2"
    data[entry + 8 : entry + 10] = struct.pack("<H", 1)  # flag: encrypted
    path.write_bytes(data)
    good, bad, locked = find_items([path])
    assert good.read(Settings()) == png(1)
    with pytest.raises(UserError) as refused:
        bad.read(Settings())
    assert str(refused.value) == "“bad.png” is damaged in the zip: make the zip again."
    with pytest.raises(UserError) as refused:
        locked.read(Settings())
    assert str(refused.value) == "“locked.png” is locked with a password: unpack the zip and give the photos."


def test_a_member_larger_than_a_photo_may_be(tmp_path):
    (item,) = find_items([make_zip(tmp_path / "a.zip", {"big.bmp": os.urandom(1 << 20) + b"x"})])
    with pytest.raises(UserError, match=r"“big\.bmp” is larger than 1 MB"):
        item.read(Settings(max_upload_mb=1))


def test_a_zip_bomb(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", {f"{number}.bmp": bytes(10_000_000) for number in range(3)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 40_000
    with pytest.raises(UserError) as refused:
        uploaded_items([("bomb.zip", path)], Settings(max_zip_mb=1))
    assert str(refused.value) == "“bomb.zip” unpacks to 28 MB, and the limit here is 20: give fewer photos."
    assert len(uploaded_items([("bomb.zip", path)], Settings(max_zip_mb=2))) == 3
    assert len(find_items([path], Settings(max_zip_mb=1))) == 3  # one's own


def test_a_zip_of_black_and_white_scans(tmp_path):
    scan = io.BytesIO()
    Image.new("1", (2480, 3508), 1).save(scan, "BMP")
    path = make_zip(tmp_path / "scans.zip", {f"{number}.bmp": scan.getvalue() for number in range(20)}, compression=zipfile.ZIP_DEFLATED)
    assert len(scan.getvalue()) * 20 > 100 * path.stat().st_size
    for item in uploaded_items([("scans.zip", path)], Settings()):
        assert item.read(Settings()) == scan.getvalue()


def test_an_upload_is_sorted_and_keeps_its_folders(tmp_path):
    files = [("holiday/dog/2.png", tmp_path / "x"), ("holiday/cat/1.png", tmp_path / "y"), ("note.txt", tmp_path / "z")]
    files += [("holiday/.DS_Store", tmp_path / "u"), ("holiday/readme.md", tmp_path / "v")]
    found = uploaded_items(files, Settings())
    assert found.notes == ["2 files that are no photos are left out (1 .md, 1 hidden)."]
    assert found == [
        Item(tmp_path / "y", "holiday/cat/1.png", "cat"),
        Item(tmp_path / "x", "holiday/dog/2.png", "dog"),
        Item(tmp_path / "z", "note.txt", ""),  # given by itself, so that its reason is told
    ]


def test_none_and_too_many(tmp_path):
    for files, others in (([], []), ([("folder/notes.txt", tmp_path / "x")], []), ([], ["folder/notes.txt"])):
        with pytest.raises(UserError, match="There are no photos in what you gave"):
            uploaded_items(files, Settings(), others=others)
    path = make_zip(tmp_path / "many.zip", {f"{number}.png": b"x" for number in range(4)})
    assert len(uploaded_items([("many.zip", path)], Settings(max_gallery=4))) == 4
    with pytest.raises(UserError) as refused:
        uploaded_items([("many.zip", path), ("one.png", tmp_path / "x")], Settings(max_gallery=4))
    assert str(refused.value) == (
        "These are 5 photos, and the limit here is 4: choose fewer, or run “python -m vitdemo classify FOLDER” on the command line, "
        "which has no limit."
    )


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("a/b/c.png", "a/b/c.png"),
        ("../../x.png", "x.png"),
        ("C:\\photos\\x.png", "C:/photos/x.png"),
        ("photos/a\\b.png", "photos/a\\b.png"),
        ("a//./b/../c.png", "a/b/c.png"),
        ("a\nb/\u202egnp.exe", "a\nb/\u202egnp.exe"),
        ("half\ud800", "half\\ud800"),
        ("", "unnamed"),
        ("/".join(map(str, range(20))), "/".join(map(str, range(20)))),
    ],
)
def test_clean_names(given, clean):
    assert clean_names([given]) == [clean]


def test_a_method_that_unpacks_without_end_is_not_unpacked(tmp_path):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = make_zip(tmp_path / "a.zip", {"a.png": bytes(30_000_000), "b.png": png()}, compression=method)
        data = bytearray(path.read_bytes())
        entry = data.index(b"PK\1\2")
        data[entry + 24 : entry + 28] = struct.pack("<L", 1000)  # the size it claims
        path.write_bytes(data)
        for item in uploaded_items([("a.zip", path)], Settings()):
            with pytest.raises(UserError) as refused:
                item.read(Settings())
            assert str(refused.value) == f"“{item.shown}” is packed by a method that isn't read here: make an ordinary zip."


def test_many_zips_hold_no_file_open(tmp_path):
    resource = pytest.importorskip("resource")
    files = [(f"{number}.zip", make_zip(tmp_path / f"{number}.zip", {"a.png": png(number)})) for number in range(100)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
    try:
        items = uploaded_items(files, Settings())
        assert sorted(item.read(Settings()) for item in items) == sorted(map(png, range(100)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    items[0].path.unlink()
    with pytest.raises(UserError) as refused:
        items[0].read(Settings())
    assert str(refused.value) == "The zip that “a.png” lies in is not there any more: add it again."


def test_an_uploaded_zip_with_an_endless_index(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(), **{f"{number:0200}": b"" for number in range(1000)}})
    assert len(uploaded_items([("a.zip", path)], Settings())) == 1
    monkeypatch.setattr("vitdemo.core.photos.search.MAX_ZIP_INDEX_BYTES", 200_000)
    with pytest.raises(UserError) as refused:
        uploaded_items([("a.zip", path)], Settings())
    assert str(refused.value) == "“a.zip” lists far more files than a zip of photos does: give the photos themselves."
    assert len(find_items([path])) == 1  # one's own


def test_what_is_too_much_is_counted_and_not_kept(tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"{number}.png": b"" for number in range(500)})
    tracemalloc.start()
    with pytest.raises(UserError, match="These are 20,000 photos, and the limit here is 600"):
        uploaded_items([(f"{number}.zip", path) for number in range(40)], Settings(max_gallery=600))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000  # all 20,000 kept: 14 MB


def test_an_entry_without_a_name(tmp_path):
    data = make_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"b.png", b"\0.png"))
    assert [item.name for item in find_items([tmp_path / "a.zip"])] == [
        f"{tmp_path / 'a.zip'}/a.png",
        f"{tmp_path / 'a.zip'}/unnamed",  # its content is a photo's
    ]
