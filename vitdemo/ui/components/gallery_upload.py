"""The panel for many photos: files, a folder with its sub-folders, a zip, or samples; and what its script may ask in every tab.

The page's script uploads the files with the names of their folders, polls the progress, and restores the panel after a reload.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gradio as gr

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.core.photos.samples import drawings, photographs
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.page_routes import Caller, TabRoutes, page_route
from vitdemo.ui.server.upload import is_file_in
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs
from vitdemo.ui.templating import html, script

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Gallery

SAMPLES = {"photographs": photographs, "drawings": drawings}


@dataclass(frozen=True)
class StartGallery:
    """Photos to run a model on.

    Attributes:
        files: (name, uploaded path) pairs, or one of SAMPLES.
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


@dataclass(frozen=True)
class RunAgain(OfGallery):
    """A gallery, and the model that is selected now."""

    model: str = ""


@dataclass
class Offer:
    """The title of the model that a gallery can be run with again; empty where that model's answers are shown."""

    title: str = ""


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
        html_template=html("components/gallery_upload", lead=lead, photographs=len(photographs()), drawings=len(drawings())) + markup,
        js_on_load=script(module),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["giving"],
    )


class GalleryRoutes(TabRoutes):
    """What every panel's script may ask.

    Args:
        jobs: the galleries, whose `start` begins one, given the photos, the model's name, the visitor and the client.

    Attributes:
        command: the command of `python -m vitdemo` for more photos.
    """

    command: ClassVar[str]

    def __init__(self, jobs: Any):
        self._jobs = jobs

    @page_route(starts_work=True)
    def start(self, asked: StartGallery, caller: Caller) -> OfGallery:
        """Start a gallery. Raises: UserError for a model or photos that can't be taken, and where the app is busy."""
        self._jobs.store.allowed(asked.model)
        items = _items(asked, self._jobs.store, self.command)
        return OfGallery(self._jobs.start(items, asked.model, caller.visitor, caller.client).id)

    @page_route(starts_work=True)
    def again(self, asked: RunAgain, caller: Caller) -> OfGallery:
        """Start a gallery's photos anew, with the selected model. Raises: UserError as `start`."""
        self._jobs.store.allowed(asked.model)
        return OfGallery(self._jobs.start(self._jobs.get(asked.gallery).items, asked.model, caller.visitor, caller.client).id)

    @page_route()
    def offer(self, asked: RunAgain, caller: Caller) -> Offer:
        """Name the selected model, where it is another one than the gallery's."""
        job, name = self._jobs.get(asked.gallery), self._jobs.store.allowed(asked.model)
        vit = self._jobs.store.get(name, caller.visitor).vit
        same = vit.id == job.model_name if vit else name == self._jobs.store.allowed(job.model)
        return Offer("" if same else vit.full_title if vit else self._jobs.store.title_of(name))

    @page_route()
    def hold(self, asked: OfGallery, caller: Caller) -> None:
        """Keep the gallery of a page that has been loaded again."""
        self._jobs.get(asked.gallery, caller.visitor)

    @page_route()
    def stop(self, asked: OfGallery, caller: Caller) -> None:
        """Stop a gallery; its finished photos stay."""
        self._jobs.get(asked.gallery).stopping.set()


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
    from vitdemo.core.photos.search import uploaded_items

    if isinstance(asked.files, str) and asked.files in SAMPLES:
        return SAMPLES[asked.files]()
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
