"""What a page may send as photos, which files its pickers offer, and what it is told of limits and progress."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.core.photos.samples import samples
from vitdemo.ui.components.gallery_upload import GalleryRoutes, RunAgain, StartGallery, limits, status_of, uploads_of
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.templating import STATIC


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    """The folder of uploads, with two photos."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for number in range(2):
        noise(20, 10, number).save(tmp_path / f"{number}.png")
    return tmp_path


class Jobs:
    """Galleries that only note how they are begun; one of them is done, with the model `m`."""

    def __init__(self):
        self.settings, self.store, self.begun = Settings(), self, []
        self.done = SimpleNamespace(id="old", items=["a", "b"], model="m", model_name="m in full")
        self.loaded = {"m": "m in full", "n": "n in full"}

    def allowed(self, name: str) -> str:
        if name not in ("", "m", "n", "auto"):
            raise UserError("Choose one from the list.")
        return name or "m"

    def start(self, *given):
        self.begun.append(given)
        return SimpleNamespace(id="new")

    def get(self, name: str, visitor: str = ""):
        loaded = self.loaded.get(name)
        return self.done if name == "old" else SimpleNamespace(vit=loaded and SimpleNamespace(id=loaded, full_title=loaded.upper()))

    def title_of(self, name: str) -> str:
        return f"title of {name}"


class Routes(GalleryRoutes):
    command = "classify"


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def begun(jobs):
    """begun(asked) → what a job is begun with."""

    def run(asked: StartGallery | RunAgain) -> tuple:
        routes = Routes(jobs)
        told = (routes.again if isinstance(asked, RunAgain) else routes.start)(asked, Caller("ann", "10.0.0.1"))
        assert told.gallery == "new"
        return jobs.begun[0]

    return run


def test_uploads_begin_a_gallery(begun, uploads):
    files = [["cats/a.png", str(uploads / "0.png")], ["b.png", str(uploads / "1.png")]]
    items, model, visitor, client = begun(StartGallery(files, model="m"))
    assert [(item.name, item.folder, item.path) for item in items] == [
        ("b.png", "", uploads / "1.png"),
        ("cats/a.png", "cats", uploads / "0.png"),
    ]
    assert (model, visitor, client) == ("m", "ann", "10.0.0.1")


def test_the_drawings_have_names_without_the_servers_folders(begun):
    items, *_ = begun(StartGallery("drawings"))
    assert len(items) == 126
    assert all(len(Path(item.name).parts) == 2 and not Path(item.name).is_absolute() for item in items)
    assert {item.name.split("/")[0] for item in items} == {item.folder for item in items}


def test_the_photographs_have_their_own_names(begun):
    items, *_ = begun(StartGallery("photographs"))
    assert [item.name for item in items] == [f"{name}.jpg" for name in ("cheetah", "lion", "tower", "temple", "flower", "officer")]
    assert [item.path for item in items] == [sample.path for sample in samples() if not sample.drawn]


def test_a_gallery_is_run_again_with_the_model_that_is_selected(begun):
    assert begun(RunAgain("old", "n")) == (["a", "b"], "n", "ann", "10.0.0.1")


def test_a_gallery_is_offered_to_another_model_alone(jobs):
    def offered(model: str) -> str:
        return Routes(jobs).offer(RunAgain("old", model), Caller("ann")).title

    assert (offered(""), offered("m"), offered("n")) == ("", "", "N IN FULL")
    jobs.loaded["auto"] = "m in full"  # which stands for the same model
    assert offered("auto") == ""
    jobs.loaded["auto"] = None  # and is loading
    assert offered("auto") == "title of auto"
    jobs.loaded["m"] = None
    assert offered("m") == ""


def test_a_model_that_a_visitor_may_not_use(begun, uploads):
    with pytest.raises(UserError, match="Choose one from the list"):
        begun(StartGallery("drawings", model="local-dir:/etc"))


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
