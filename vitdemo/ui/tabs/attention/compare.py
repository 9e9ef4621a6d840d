"""Which map to believe: every method by the same tests, on the session's photo or on photos that a visitor gives, in the background."""

import asyncio
import base64
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.search import uploaded_items
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.upload import Upload, is_file_in
from vitdemo.ui.tabs.attention.compare_table import NAMES, columns_of, how_of, rows_of, sentences_of
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions, MethodComparison

if TYPE_CHECKING:
    from PIL import Image

    from vitdemo.attention.evaluation.compare import Step, Subject
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Item

MAX_PHOTOS = 100  # compared at a time, evenly spread over those given
MOSAICS = 25
MAX_KEPT = 4  # comparisons kept per session
REFRESH = 2  # seconds between two tables
IMAGES, MASKS = "images", "masks"  # the folder of masks in a folder or zip of photos
STOPPED = "Stopped: the table has what was done."


@dataclass
class ComparisonStatus:
    """How far a comparison is, and its table so far.

    Attributes:
        done: the share that is done, 0 … 1.
        columns: key, name, whether `lower` is better, and meaning.
        rows: name, whether it is a `baseline`, `heat` in base64, whether that is `signed`, and `cells` by the columns' keys: value, low,
            high and `verdict`, which is empty where the difference to chance may be none.
        sentences, details: what the table says, in short, and of each method.
        how: on what the table rests.
    """

    over: bool = True
    done: float = 0
    text: str = ""
    error: str = ""
    columns: list[dict] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    how: str = ""


def compare(sessions: AttentionSessions, session: AttentionSession, target: int | None, files: Sequence[Any], client: str) -> None:
    """Compare all methods, on the session's photo for a class or on uploaded files for each photo's top class. `compared` follows it.

    Raises: UserError for files that hold no photos, or are no uploads.
    """
    pairs = _uploads(files)
    items = list(uploaded_items(pairs, sessions.store.settings, command="attention --compare")) if pairs else None
    key = (target,) if items is None else tuple(path for _, path in pairs)
    with session.lock:
        before, known = session.comparing, session.comparisons.pop(key, None)
        if known and known.stopping.is_set():
            known = None  # it is about to end
        job = session.comparing = session.comparisons[key] = known or MethodComparison(session, target, items)
        if before and before is not job and not before.over:
            before.stopping.set()
        for old in list(session.comparisons)[:-MAX_KEPT]:
            del session.comparisons[old]
    if known is None:
        threading.Thread(target=_work, args=(sessions, job, key, client), name="compare methods", daemon=True).start()


def compared(sessions: AttentionSessions, session: AttentionSession, stop: bool) -> ComparisonStatus:
    """The progress of the session's comparison, which ends if `stop`."""
    job = session.comparing
    if job is None:
        return ComparisonStatus()
    if stop:
        with session.lock:
            if not job.over:
                job.stopping.set()
    over, table = job.over, job.table  # in this order: what is over has its last table
    if table is None:
        before = sessions.comparisons.position(job)
        waits = f"Waiting for {before} other comparisons …" if before > 1 else "Waiting for another comparison …"
        begins = waits if before else "Getting ready …"
        return ComparisonStatus(over, job.share, ("Stopped." if job.stopping.is_set() else "") if over else begins, job.error)
    so_far = f"{_count(table.photos, 'photo')}, {_count(table.mosaics, 'mosaic')} so far" if job.items else "Comparing the maps …"
    text = so_far if not over else STOPPED if job.stopping.is_set() else ""
    details = [f"{NAMES[method]}: {sentence}" for method, sentence in table.sentences.items() if sentence]
    return ComparisonStatus(
        over,
        job.share,
        text,
        job.error,
        columns_of(table),
        rows_of(table, job.heats),
        sentences_of(table) if over else [],
        details,
        how_of(table, job.notes, job.label),
    )


async def compared_whole(sessions: AttentionSessions, vit: "Vit", upload: Upload, client: str, target: int | None = None) -> dict:
    """As `whole`, in a thread of its own, so that no other work of the server waits."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="compare methods")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, whole, sessions, vit, upload, client, target)
    finally:
        thread.shutdown(wait=False)


def whole(sessions: AttentionSessions, vit: "Vit", upload: Upload, client: str, target: int | None = None) -> dict:
    """The whole comparison, for programs: of a photo for a class, or of the photos in a zip for each one's top class.

    Returns: what `Table` holds, and `notes` on what was left out. Raises: UserError for a model without classes, what can't be read, and
    where too many comparisons wait.
    """
    from vitdemo.attention.evaluation.compare import Subject, compare_photo, compare_photos
    from vitdemo.core.photos.photo import open_photo

    store = sessions.store
    notes: list[str] = []
    with sessions.comparisons.slot(object(), client):
        if upload.name.lower().endswith(".zip"):
            items = list(uploaded_items([(upload.name, upload.path)], store.settings, command="attention --compare"))
            steps = compare_photos(vit, store.engine, _subjects(vit, items, store.settings, notes), mosaics=_mosaics(vit))
        else:
            tensor = vit.preprocessing(open_photo(upload.path, store.settings, name=upload.name).image)
            steps = compare_photo(vit, store.engine, Subject(lambda: tensor), target)
        *_, last = steps
    return asdict(last.comparison.table()) | {"notes": [*notes, *last.comparison.refused]}


def _mosaics(vit: "Vit") -> int:
    """How many mosaics to lay: none on a patch grid that can't be cut into quarters."""
    from vitdemo.attention.evaluation.mosaics import has_quarters

    return MOSAICS if has_quarters(vit.adapter.grid(vit.preprocessing.size)) else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _uploads(files: Sequence[Any]) -> list[tuple[str, Path]]:
    """The names and paths of uploaded files. Raises: UserError for anything else."""
    pairs, folder = [], get_upload_folder()
    for each in files:
        name, path = (each.get("name"), each.get("path")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(path, str) or not is_file_in(path, folder):
            raise UserError("Send the photos as uploaded files.")
        pairs.append((name, Path(path)))
    return pairs


def _work(sessions: AttentionSessions, job: MethodComparison, key: tuple, client: str) -> None:
    try:
        with sessions.comparisons.slot(job, client, job.stopping):
            told, step = 0.0, None
            for step in () if job.stopping.is_set() else _steps(sessions, job):
                job.share = step.done / max(1, step.total)
                if time.monotonic() - told > REFRESH:
                    job.table, told = step.comparison.table(), time.monotonic()
                if job.stopping.is_set():
                    break
            if step:
                job.notes += step.comparison.refused
                job.table = step.comparison.table()
    except Exception as error:
        job.error = user_message(error)
    with job.session.lock:  # who stops it sees whether it is over
        if (job.error or job.stopping.is_set()) and job.session.comparisons.get(key) is job:
            del job.session.comparisons[key]
        job.over = True


def _steps(sessions: AttentionSessions, job: MethodComparison) -> "Iterator[Step]":
    from vitdemo.attention.evaluation.compare import NAMED, Subject, compare_photo, compare_photos
    from vitdemo.attention.methods.faithfulness import centre_prior, random_heat

    session, engine = job.session, sessions.store.engine
    vit = sessions.vit(session)
    adapted = replace(vit, preprocessing=session.preprocessing)  # erased patches are grey, as this preprocessing encodes grey
    if job.items is not None:
        yield from compare_photos(
            adapted, engine, _subjects(adapted, job.items, sessions.store.settings, job.notes, job.stopping), mosaics=_mosaics(adapted)
        )
        return
    trace = sessions.trace(session, vit)
    target = int(trace.logits.argmax()) if job.target is None else job.target
    job.label = vit.labels[target].name if 0 <= target < len(vit.labels) else ""
    heats = {}
    for name, question in NAMED.items():
        with suppress(UserError):  # a method that this model does not allow, which the comparison names
            heats[name] = sessions.heats(session, vit, replace(question, target=target))[-1]
    heats |= {"random": random_heat(trace.grid, 0), "centre": centre_prior(trace.grid)}
    job.heats = {name: base64.b64encode(heat.contiguous().numpy().astype("<f4").tobytes()).decode() for name, heat in heats.items()}
    yield from compare_photo(adapted, engine, Subject(lambda: session.tensor), target)


def _subjects(
    vit: "Vit", items: "list[Item]", settings: Settings, notes: list[str], stopping: threading.Event | None = None
) -> "list[Subject]":
    """The photos that can be read, at most MAX_PHOTOS. Raises: UserError where there are none."""
    masks = {_name_of(item): item for item in items if _is_mask(item)}
    photos = [item for item in items if not _is_mask(item)]
    if len(photos) > MAX_PHOTOS:
        notes.append(f"{MAX_PHOTOS} of {len(photos)} photos, evenly spread: the command line takes more.")
        photos = [photos[round(number * (len(photos) - 1) / (MAX_PHOTOS - 1))] for number in range(MAX_PHOTOS)]
    subjects: list[Subject] = []
    unread = 0
    for item in photos:
        if stopping and stopping.is_set():
            return subjects
        try:
            subjects.append(_subject(vit, item, masks.get(_name_of(item)), settings))
        except UserError:
            unread += 1
    if unread:
        notes.append(f"{unread} of {len(photos)} photos can't be read, or their masks can't: left out.")
    if not subjects:
        raise UserError("None of these photos can be read: give others.")
    return subjects


def _name_of(item: "Item") -> tuple[str, ...]:
    """What a photo and its mask share: their folders but `images` and `masks`, and the name without its suffix."""
    path = PurePosixPath(item.name).with_suffix("")
    return tuple(part for part in path.parts if part not in (IMAGES, MASKS))


def _is_mask(item: "Item") -> bool:
    return MASKS in PurePosixPath(item.name).parts[:-1]


def _subject(vit: "Vit", item: "Item", mask: "Item | None", settings: Settings) -> "Subject":
    """A photo with its mask, and its class where its folder is called as one. Raises: UserError where either can't be read."""
    from vitdemo.attention.evaluation.compare import Subject
    from vitdemo.attention.methods.faithfulness import mask_shares
    from vitdemo.core.models.labels import ClassNames
    from vitdemo.core.photos.photo import decode

    def image_of(item: "Item") -> "Image.Image":
        return decode(item.read(settings), item.shown, settings).image

    tensor, meant = vit.preprocessing(image_of(item)), ClassNames(vit.labels).meant(item.folder)
    label = next(iter(meant)) if len(meant) == 1 else None
    if mask is None:
        return Subject(lambda: tensor, label=label)
    shares = mask_shares(image_of(mask), vit.preprocessing, vit.adapter.grid(vit.preprocessing.size))
    return Subject(lambda: tensor, lambda _: shares, label)
