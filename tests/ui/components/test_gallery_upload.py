"""What a page may send as photos, which files its pickers offer, and what it is told of limits and progress."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.ui.components.gallery_upload import StartGallery, limits, start, status_of, uploads_of
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.templating import STATIC


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    """The folder of uploads, with two photos."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for number in range(2):
        noise(20, 10, number).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.fixture
def begun():
    """begun(asked) → what a job is begun with."""

    def run(asked: StartGallery, allowed: tuple[str, ...] = ("", "m")) -> tuple:
        def check(name: str) -> None:
            if name not in allowed:
                raise UserError("Choose one from the list.")

        calls = []
        store = SimpleNamespace(settings=Settings(), allowed=check)
        told = start(asked, Caller("ann", "10.0.0.1"), store, "classify", lambda *given: calls.append(given) or SimpleNamespace(id="new"))
        assert told.gallery == "new"
        return calls[0]

    return run


def test_uploads_begin_a_gallery(begun, uploads):
    files = [["cats/a.png", str(uploads / "0.png")], ["b.png", str(uploads / "1.png")]]
    items, model, visitor, client = begun(StartGallery(files, model="m"))
    assert [(item.name, item.folder, item.path) for item in items] == [
        ("b.png", "", uploads / "1.png"),
        ("cats/a.png", "cats", uploads / "0.png"),
    ]
    assert (model, visitor, client) == ("m", "ann", "10.0.0.1")


def test_the_sample_images_have_names_without_the_servers_folders(begun):
    items, *_ = begun(StartGallery("examples"))
    assert len(items) == 126
    assert all(len(Path(item.name).parts) == 2 and not Path(item.name).is_absolute() for item in items)
    assert {item.name.split("/")[0] for item in items} == {item.folder for item in items}


def test_a_model_that_a_visitor_may_not_use(begun, uploads):
    with pytest.raises(UserError, match="Choose one from the list"):
        begun(StartGallery("examples", model="local-dir:/etc"))


@pytest.mark.parametrize(
    "files",
    [
        [["a.png", "/etc/passwd"]],
        [["a.png", "0.png"]],
        [["a.png"]],
        [["a.png", None]],
        [["a.png", "../x", "y"]],
        ["a"],
        [7],
        "everything",
    ],
)
def test_what_is_no_upload(files, uploads):
    with pytest.raises(UserError, match="Send the photos as uploaded files"):
        uploads_of(files)


def test_names_are_text_and_paths_lie_in_the_folder(uploads):
    assert uploads_of([[7, str(uploads / "0.png")]]) == [("7", uploads / "0.png")]
    (uploads / "link.png").symlink_to("/etc/passwd")
    with pytest.raises(UserError):
        uploads_of([["a.png", str(uploads / "link.png")]])


def test_the_limits_are_the_settings():
    settings = Settings(max_gallery=7, max_upload_mb=8, max_zip_mb=9)
    assert limits(settings, "embed") == {"photos": 7, "mb": 8, "zipMb": 9, "suffixes": SUFFIXES, "command": "embed"}


def test_a_gallerys_status():
    job = SimpleNamespace(state="running", error="", items=[1, 2, 3], done=2, speed=1.5, notes=["One is no photo."])
    jobs = SimpleNamespace(status_text=lambda job: "Waiting …", title=lambda job: "ViT")
    told = vars(status_of(jobs, job, 1))
    assert told.pop("notes") == ["One is no photo."]
    assert told == {"state": "running", "text": "Waiting …", "model": "ViT", "total": 3, "done": 2, "wrong": 1, "speed": 1.5}
    job.error = "There is no room."
    assert status_of(jobs, job, 0).text == "There is no room."


KNOWN = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif"}  # what browsers take for image/* everywhere


@pytest.mark.parametrize("name", ["components/gallery_upload.html", "attention/stage.html", "export/export.html"])
def test_pickers_offer_all_that_is_read(name):
    lists = [set(text.split(",")) for text in re.findall(r'accept="([^"]+)"', (STATIC / name).read_text("utf-8"))]
    assert lists
    assert all(accepted - {".zip"} == {"image/*"} | set(SUFFIXES) - KNOWN for accepted in lists)
