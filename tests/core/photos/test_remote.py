"""Photos by URL and by pattern, in memory and on this disk."""

import io
import zipfile

import fsspec
import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos import remote
from vitdemo.core.photos.search import find_items


@pytest.fixture
def bucket():
    """A few files in memory, under names that try hard."""
    files = fsspec.filesystem("memory")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("cats/in.jpg", b"in the zip")
        archive.writestr("readme.txt", b"")
    for name, data in {
        "bucket/dogs/b.png": b"b",
        "bucket/a.jpg": b"a",
        "bucket/é #%20.jpg": b"odd",
        "bucket/notes.txt": b"no photo",
        "bucket/.hidden/c.jpg": b"c",
        "bucket/empty.jpg": b"",
        "zips/all.zip": packed.getvalue(),
    }.items():
        files.pipe_file(f"/{name}", data)
    yield "memory://bucket"
    files.store.clear()


def found(*paths) -> list[tuple[str, str]]:
    return [(item.name, item.folder) for item in find_items(paths)]


def test_a_folder_by_url(bucket):
    names = ["a.jpg", "dogs/b.png", "empty.jpg", "é #%20.jpg"]
    assert [name for name, _ in found(bucket)] == [f"memory:///bucket/{name}" for name in names]
    assert [item.folder for item in find_items([bucket])] == ["bucket", "dogs", "bucket", "bucket"]
    assert [item.read(Settings()) for item in find_items([bucket]) if item.shown != "empty.jpg"] == [b"a", b"b", b"odd"]


def test_a_file_a_pattern_and_a_zip_by_url(bucket):
    assert found("memory://bucket/a.jpg") == [("memory:///bucket/a.jpg", "")]
    assert found("memory://bucket/**/*.png") == [("memory:///bucket/dogs/b.png", "dogs")]
    assert found("memory://bucket/*.gif") == []
    (item,) = find_items(["memory://zips/all.zip"])
    assert (item.name, item.folder, item.read(Settings())) == ("memory://zips/all.zip/cats/in.jpg", "cats", b"in the zip")


def test_this_disk_by_url(tmp_path):
    noise(40, 30).save(tmp_path / "a.png")
    (item,) = find_items([tmp_path.as_uri()])
    assert item.read(Settings()) == (tmp_path / "a.png").read_bytes()


def test_patterns(tmp_path, monkeypatch):
    for name in ("a.png", "b [1].png", "dogs/c.png", "dogs/deep/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in found("**/*.png")] == ["a.png", "b [1].png", "dogs/c.png", "dogs/deep/d.png"]
    assert [name for name, _ in found("*")] == ["a.png", "b [1].png", "dogs/c.png", "dogs/deep/d.png"]  # as a shell hands it on
    assert found("b [1].png") == [("b [1].png", "")]  # a file by that very name
    assert found("*.gif") == []
    Image.new("RGB", (8, 8)).save("dogs/same", "PNG")
    assert [name for name, _ in found("dogs/*")] == ["dogs/c.png", "dogs/deep/d.png", "dogs/same"]
    assert find_items(["*.t*"]).notes[0] == "1 file that is no photo is left out (1 .txt)."


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("memory://nowhere", "There is nothing at memory://nowhere: check it, and what this machine may read there."),
        ("foo://bucket", "foo://bucket can't be opened (Protocol not known: foo): give s3://"),
        ("memory://nowhere.zip", "memory://nowhere.zip can't be read ("),
    ],
)
def test_urls_that_lead_nowhere(url, sentence):
    with pytest.raises(UserError) as refused:
        find_items([url])
    assert str(refused.value).startswith(sentence)


def test_files_that_can_not_be_read(bucket, monkeypatch):
    empty, large = find_items(["memory://bucket/empty.jpg", "memory://bucket/a.jpg"])
    with pytest.raises(UserError, match=r"“empty.jpg” is empty \(0 bytes\)"):
        empty.read(Settings())
    fsspec.filesystem("memory").pipe_file("/bucket/a.jpg", bytes((1 << 20) + 1))
    with pytest.raises(UserError, match=r"“a\.jpg” is larger than 1 MB"):
        large.read(Settings(max_upload_mb=1))
    fsspec.filesystem("memory").rm("/bucket/a.jpg")
    with pytest.raises(UserError, match=r"“a\.jpg” is not there any more"):
        large.read(Settings())


def test_a_network_that_stumbles_is_asked_again(bucket, monkeypatch):
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0)
    real, failures = remote.filesystem, [ConnectionResetError("reset")] * (remote.MAX_TRIES - 1)

    def stumbling(url):
        if failures:
            raise failures.pop()
        return real(url)

    (item,) = find_items(["memory://bucket/a.jpg"])
    monkeypatch.setattr(remote, "filesystem", stumbling)
    assert item.read(Settings()) == b"a"
    failures[:] = [ConnectionResetError("reset")] * remote.MAX_TRIES
    with pytest.raises(UserError, match=r"“a.jpg” can't be read from there \(reset\): check memory:///bucket/a.jpg, and try again."):
        item.read(Settings())


def test_paths_are_no_urls():
    assert not any(map(remote.is_url, ("a.jpg", "C:\\a.jpg", "/s3/a:b", "a//b", "x:y.jpg")))
    assert all(map(remote.is_url, ("s3://a", "gs://a/b*", "file:///a", "simplecache::s3://a")))
