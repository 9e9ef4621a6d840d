"""A gallery's parts: kinds of patches that recur in it, found in the background by k-means of one layer's patch tokens."""

import threading
from contextlib import closing
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.ui.errors import user_message
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJob, EmbeddingJobs, PartsSearch

if TYPE_CHECKING:
    import numpy as np

    from vitdemo.embeddings.vectors.parts import Parts

MAX_PHOTOS = 200  # whose patches are grouped, evenly spread over the gallery
MAX_PATCHES = 60_000  # grouped together
FEWEST = 2  # photos
KEPT = 3  # layers whose parts a gallery keeps


def search(jobs: EmbeddingJobs, job: EmbeddingJob, layer: int | str) -> PartsSearch:
    """The search for a layer's parts, which starts where there was none.

    Raises: UserError where the gallery has too few photos.
    """
    with job.lock:
        found = job.parts.get(layer)
        if found is None:
            found = job.parts[layer] = PartsSearch(layer, _spread(job))
            for old in list(job.parts)[:-KEPT]:
                job.parts.pop(old).stopping.set()
            threading.Thread(target=_work, args=(jobs, job, found), name="parts", daemon=True).start()
    return found


def forget(job: EmbeddingJob, search: PartsSearch) -> None:
    """Forget a search that failed, so that the next request begins anew."""
    with job.lock:
        if job.parts.get(search.layer) is search:
            del job.parts[search.layer]


def found_parts(job: EmbeddingJob, layer: object) -> "tuple[Parts, list[int]]":
    """A layer's parts, and the numbers of the photos that were grouped. Raises: UserError where they have not been found."""
    found = job.parts.get(layer) if isinstance(layer, int | str) else None
    if found is None or found.parts is None:
        raise UserError("The parts of this layer are not known: choose Parts again.")
    return found.parts, found.numbers


def _spread(job: EmbeddingJob) -> list[int]:
    """The numbers of the photos to group: each photo once, evenly spread."""
    numbers = [number for number, row in enumerate(job.embedded().rows) if not row.error and row.duplicate_of is None]
    if len(numbers) < FEWEST:
        raise UserError("Parts recur across photos: give two at least.")
    most = min(len(numbers), MAX_PHOTOS)
    return [numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)]


def _work(jobs: EmbeddingJobs, job: EmbeddingJob, found: PartsSearch) -> None:
    from vitdemo.embeddings.vectors.parts import find_parts

    try:
        tokens = _tokens(jobs, job, found)
        if not found.stopping.is_set():
            found.parts = find_parts(tokens)
    except Exception as error:
        found.error = user_message(error)


def _tokens(jobs: EmbeddingJobs, job: EmbeddingJob, found: PartsSearch) -> "np.ndarray":
    """The patch tokens of the search's photos, (photos, patches, width); of fewer photos where they have too many patches."""
    import numpy as np

    from vitdemo.embeddings.vectors.patch_gallery import patch_gallery

    vit, rows, read = jobs.vit(job), [], []
    height, width = vit.adapter.grid(vit.preprocessing.size)
    most = max(FEWEST, MAX_PATCHES // (height * width))
    found.numbers = found.numbers[:: -(-len(found.numbers) // most)]
    items = [job.items[number] for number in found.numbers]
    with closing(patch_gallery(items, vit, jobs.store.engine, jobs.settings, found.layer)) as results:
        for number, (_, tokens) in zip(found.numbers, results, strict=False):
            if found.stopping.is_set():
                break
            if tokens is not None:
                rows.append(tokens)
                read.append(number)
            found.done += 1
    if len(rows) < FEWEST and not found.stopping.is_set():
        raise UserError("The photos are not here any more: give them again.")
    found.numbers = read
    return np.stack(rows) if rows else np.empty((0, 0, 0), np.float32)
