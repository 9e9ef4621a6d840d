"""The panel for uploading many photos: files, a folder with its sub-folders, a zip, or the sample images.

The page's script uploads the files with the names of their folders, polls the progress, and restores the panel after a reload.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.server.upload import is_file_in
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs
from vitdemo.ui.templating import html, script

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Gallery

SAMPLE_GALLERY = ASSETS / "examples" / "gallery"


@dataclass(frozen=True)
class StartGallery:
    """Photos to run a model on.

    Attributes:
        files: (name, uploaded path) pairs, or `examples` for the sample images.
        others: names of files that the page left out, since they are no photos.
        model: the model's name.
    """

    files: list | str = ""
    others: list = field(default_factory=list)
    model: str = ""


@dataclass(frozen=True)
class OfGallery:
    """A gallery, by its id."""

    gallery: str = ""


@dataclass
class GalleryStatus:
    """How far a gallery is.

    Attributes:
        state: of the job.
        text: what the job waits for, or why it failed.
        total, done, wrong: photos in all, finished, and of these unreadable.
        speed: photos per second.
        notes: what was left out or guessed when the photos were found.
    """

    state: str
    text: str
    model: str
    total: int
    done: int
    wrong: int
    speed: float
    notes: list[str]


def build(elem_id: str, store: ModelStore, *, tab: str, lead: str, command: str, markup: str, module: str) -> gr.HTML:
    """Lay out the panel.

    Args:
        tab: the name of the tab's routes, of which `start`, `poll` and `stop` are called.
        lead: the reason to upload photos here.
        command: the command of `python -m vitdemo` for more photos.
        markup: HTML below the upload form.
        module: the module of static/ that mounts the panel, on a Gallery of components/gallery_upload.js.
    """
    return gr.HTML(
        {"limits": limits(store.settings, command), "tab": tab},
        html_template=html("components/gallery_upload", lead=lead) + markup,
        js_on_load=script(module),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["giving"],
    )


def start(
    asked: StartGallery, caller: Caller, store: ModelStore, command: str, begin: Callable[["Gallery", str, str, str], GalleryJob]
) -> OfGallery:
    """Start a job for uploaded photos.

    Args:
        begin: starts the job, given the photos, the model's name, the visitor and the client.

    Raises: UserError for a model that the visitor may not use, for photos that can't be taken, and where the app is busy.
    """
    store.allowed(asked.model)
    return OfGallery(begin(_items(asked, store, command), asked.model, caller.visitor, caller.client).id)


def status_of(jobs: GalleryJobs, job: GalleryJob, wrong: int) -> GalleryStatus:
    """The part of a gallery's status that all tabs show. `wrong` is the number of unreadable photos."""
    state = job.state  # read first, so that the last status has all that was done
    said = job.error or jobs.status_text(job)
    return GalleryStatus(state, said, jobs.title(job), len(job.items), job.done, wrong, job.speed, job.notes)


def limits(settings: Settings, command: str) -> dict:
    """The limits of an upload, for upload.js, and the `command` of `python -m vitdemo` for larger galleries."""
    return {
        "photos": settings.max_gallery,
        "mb": settings.max_upload_mb,
        "zipMb": settings.max_zip_mb,
        "suffixes": SUFFIXES,
        "command": command,
    }


def _items(asked: StartGallery, store: ModelStore, command: str) -> "Gallery":
    from vitdemo.core.photos.gallery import Gallery, find_items, uploaded_items

    if asked.files == "examples":
        return Gallery(replace(item, name=item.path.relative_to(SAMPLE_GALLERY).as_posix()) for item in find_items([SAMPLE_GALLERY]))
    return uploaded_items(uploads_of(asked.files), store.settings, command=command, others=names_of(asked.others))


def names_of(others: list) -> list[str]:
    """The names that the page sent of files that are no photos. Raises: UserError for anything else."""
    if not all(isinstance(name, str) for name in others):
        raise UserError("Send the names of the other files as texts.")
    return others


def uploads_of(files: Any) -> list[tuple[str, Path]]:
    """The (name, path) pairs that the page sent, after a check that each path is an uploaded file's.

    Raises: UserError for anything else.
    """
    folder = get_upload_folder()
    try:
        uploads = [(str(name), Path(path)) for name, path in files]
        valid = all(is_file_in(path, folder) for _, path in files)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise UserError("Send the photos as uploaded files.")
    return uploads
