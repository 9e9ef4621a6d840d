"""The Embeddings tab's routes: follow a gallery, its maps and scores, one photo and its patches, downloads, add as class."""

import base64
from typing import Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.photos.encode import encode
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.components.gallery_upload import GalleryRoutes, OfGallery
from vitdemo.ui.server.page_routes import Caller, File, page_route
from vitdemo.ui.tabs.embeddings import parts
from vitdemo.ui.tabs.embeddings.downloads import download, picture_name
from vitdemo.ui.tabs.embeddings.map_pages import kept
from vitdemo.ui.tabs.embeddings.maps import FinishedMap
from vitdemo.ui.tabs.embeddings.messages import (
    AddClass,
    AddedClass,
    Download,
    EmbeddingStatus,
    KeptMap,
    MapAnswer,
    NearestPatches,
    OfKeptMap,
    OfMap,
    OfPart,
    OfPatches,
    OfPhoto,
    OpenedPhoto,
    PartsAnswer,
    Patches,
    PictureName,
    Scores,
)
from vitdemo.ui.tabs.embeddings.page_data import key_of, map_file, photo_rows, photos_file, write
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions, ReplacesSession

MAX_ERRORS = 200  # error sentences sent to the page
NEIGHBOURS = 8  # shown per photo
MAX_TOGETHER = 12  # photos in one patch comparison
MAX_PIXELS = 640  # longer side of an opened photo
CROP_PIXELS = 448  # longer side of the photo's crop
REFUSED = "The model names no class: the photo is unlike anything it was trained on."
PHASE_TEXTS = {
    "waiting": "Waiting for another gallery's map",
    "starting": "Preparing the map (first time only)",
    "neighbours": "Finding nearest neighbours",
    "map": "Laying out the map",
    "clusters": "Finding clusters",
}


class EmbeddingsRoutes(GalleryRoutes):
    """What the Embeddings tab's script may ask."""

    name, command = "embeddings", "embed"

    def __init__(self, jobs: EmbeddingJobs, finetune_sessions: FinetuneSessions):
        super().__init__(jobs)
        self._finetune_sessions = finetune_sessions

    @page_route()
    def poll(self, asked: OfGallery, caller: Caller) -> EmbeddingStatus:
        """The progress of a gallery; at the end, also its errors and the files with its photos."""
        job = self._jobs.get(asked.gallery, caller.visitor)
        is_over = job.over  # read before the rows, so that the final status has all of them
        rows = list(job.embedding.rows) if job.embedding else []
        status = EmbeddingStatus(**vars(gallery_upload.status_of(self._jobs, job, sum(row.error is not None for row in rows))))
        if is_over:
            status.errors = [{"name": row.path, "error": row.error} for row in rows if row.error][:MAX_ERRORS]
        if is_over and job.maps:
            embedding = job.maps.embedding
            status.layers, status.pools, status.photos = embedding.layers, embedding.pools, photos_file(job)
        return status

    @page_route()
    def stop(self, asked: OfGallery, caller: Caller) -> None:
        """Stop the gallery and keep the finished photos; after the photos, stop the map."""
        job = self._jobs.get(asked.gallery)
        if job.over and job.maps:
            job.maps.stop()
        job.stopping.set()

    @page_route()
    def map(self, asked: OfMap, caller: Caller) -> MapAnswer:
        """The requested map, or its progress."""
        job = self._jobs.get(asked.gallery)
        result = job.mapped().ask(key_of(job, vars(asked)))
        if isinstance(result, str):
            raise UserError(result)
        if isinstance(result, FinishedMap):
            return MapAnswer(map_file(job, result))
        share = result.done / result.total if result.total and result.phase == "map" else None
        return MapAnswer(None, PHASE_TEXTS.get(result.phase, result.phase), share, result.left if result.phase == "map" else None)

    @page_route()
    def scores(self, asked: OfMap, caller: Caller) -> Scores:
        """The scores of each layer that are known so far."""
        job = self._jobs.get(asked.gallery)
        key, maps = key_of(job, vars(asked)), job.mapped()
        trust = {drawn.key.layer: drawn.atlas.trust for drawn in maps.drawn(key.pool, key.options)}
        scores = maps.scores(key.pool)
        rows = [
            {"layer": layer, "accuracy": score and score.accuracy, "silhouette": score and score.silhouette, "trust": trust.get(layer)}
            for layer, score in zip(maps.embedding.layers, scores, strict=True)
        ]
        return Scores(rows, None not in scores and maps.idle)

    @page_route()
    def photo(self, asked: OfPhoto, caller: Caller) -> OpenedPhoto:
        """One photo at a readable size, the model's predictions for it, and the photo's nearest neighbours and duplicates."""
        from vitdemo.embeddings.maps.nearest import NEAR_DUPLICATE, similarities

        job, number = self._jobs.get(asked.gallery), asked.id
        row, _ = job.row(number)
        key, maps = key_of(job, vars(asked)), job.mapped()
        photo = self._jobs.photo(job, number)
        vit = self._jobs.vit(job)
        geometry = vit.preprocessing.geometry(photo.image.size, vit.patch)
        numbers = [photo_row["id"] for photo_row in photo_rows(job)]
        place = numbers.index(number)
        vectors = maps.embedding.vectors(key.layer, key.pool)
        similarity = similarities(vectors, vectors[place])
        similarity[place] = -np.inf
        last_layer = maps.embedding.vectors(maps.embedding.layers[-1], key.pool)
        is_near_duplicate = similarities(last_layer, last_layer[place]) >= NEAR_DUPLICATE
        nearest = np.argsort(-similarity, kind="stable")[: min(NEIGHBOURS, len(similarity) - 1)]
        left, top, right, bottom = map(round, geometry.box)
        crop = photo.image.crop((left, top, right, bottom))
        crop.thumbnail((CROP_PIXELS, CROP_PIXELS))
        photo.image.thumbnail((MAX_PIXELS, MAX_PIXELS))
        return OpenedPhoto(
            name=row.path,
            folder=row.folder,
            duplicate=row.duplicate_of,
            photo=write(job, f"photo-{number}.jpg", encode(photo.image, "JPEG", quality=90)),
            crop=write(job, f"crop-{number}.jpg", encode(crop, "JPEG", quality=90)),
            grid=geometry.grid[::-1],
            notes=(*photo.notes, *([REFUSED] if vit.ood and vit.ood.refuses and not row.predictions else [])),
            predictions=[{"name": best.label.short, "probability": best.probability} for best in row.predictions],
            neighbours=[{"id": numbers[other], "similarity": float(similarity[other])} for other in nearest],
            same=[numbers[other] for other, other_row in enumerate(maps.rows) if other_row.sha256 == row.sha256 and other != place],
            almost=[
                numbers[other] for other, other_row in enumerate(maps.rows) if is_near_duplicate[other] and other_row.sha256 != row.sha256
            ],
        )

    @page_route()
    def colours(self, asked: OfPatches, caller: Caller) -> Patches:
        """Patch PCA of one or several photos."""
        from vitdemo.embeddings.vectors.patches import patch_colours

        tokens = self._tokens(asked)
        colours, foreground = patch_colours(tokens)
        return Patches(
            tokens.shape[:3],
            colours=_base64((255 * colours).round().astype(np.uint8)),
            foreground=_base64(foreground.astype(np.uint8)),
        )

    @page_route()
    def alike(self, asked: OfPatches, caller: Caller) -> Patches:
        """Patch similarity of all patches to one patch of the first photo."""
        from vitdemo.embeddings.vectors.patches import correspondence

        tokens = self._tokens(asked)
        place = asked.row, asked.column
        if any(type(index) is not int or not 0 <= index < side for index, side in zip(place, tokens.shape[1:3], strict=True)):
            raise UserError("There is no such patch in this photo.")
        return Patches(tokens.shape[:3], heats=_base64(correspondence(tokens, 0, *place).astype("<f4")))

    @page_route()
    def parts(self, asked: OfPatches, caller: Caller) -> PartsAnswer:
        """The parts of some photos' patches. Where they are not known for this layer, the search starts, and this tells how far it is."""
        from vitdemo.embeddings.vectors.parts import assign

        job = self._jobs.get(asked.gallery)
        tokens = self._tokens(asked)
        found = parts.search(self._jobs, job, asked.layer)
        if found.error:
            parts.forget(job, found)
            raise UserError(found.error)
        if found.parts is None:
            return PartsAnswer(tokens.shape[:3], share=found.share, looked=len(found.numbers))
        labels = assign(tokens.reshape(len(tokens), -1, tokens.shape[-1]), found.parts.centres).labels
        rows, columns = tokens.shape[1:3]
        corners = found.parts.labels[:, [0, columns - 1, (rows - 1) * columns, rows * columns - 1]]
        return PartsAnswer(
            tokens.shape[:3],
            share=1.0,
            parts=_base64(labels.astype(np.uint8)),
            photos=(found.parts.photos / len(found.parts.labels)).tolist(),
            artefacts=[
                part for part in range(len(found.parts.centres)) if 2 * (corners == part).sum() > (found.parts.labels == part).sum()
            ],
            looked=len(found.numbers),
        )

    @page_route()
    def part(self, asked: OfPart, caller: Caller) -> NearestPatches:
        """Where a part is most itself across the gallery."""
        job = self._jobs.get(asked.gallery)
        known, numbers = parts.found_parts(job, asked.layer)
        if type(asked.part) is not int:
            raise UserError("Name the part by its number.")
        vit = self._jobs.vit(job)
        columns = vit.adapter.grid(vit.preprocessing.size)[1]
        nearest = known.nearest(asked.part, count=MAX_TOGETHER, per_photo=1)
        return NearestPatches([{"id": numbers[photo], "row": patch // columns, "column": patch % columns} for photo, patch in nearest])

    @page_route()
    def stop_parts(self, asked: OfGallery, caller: Caller) -> None:
        """Stop the search for parts."""
        self._jobs.get(asked.gallery).stop_parts()

    @page_route()
    def download(self, asked: Download, caller: Caller) -> File:
        """Write a download."""
        job = self._jobs.get(asked.gallery)
        path = download(self._jobs, job, key_of(job, vars(asked)), asked.kind, asked.ids)
        return File(str(path), path.name)

    @page_route()
    def picture(self, asked: OfMap, caller: Caller) -> PictureName:
        """Name a picture of a map, which the page makes."""
        job = self._jobs.get(asked.gallery)
        return PictureName(picture_name(self._jobs, job, key_of(job, vars(asked))))

    @page_route(starts_work=True)
    def add_class(self, asked: AddClass, caller: Caller) -> AddedClass:
        """Add photos of the gallery to Fine-tune as a class."""
        job = self._jobs.get(asked.gallery)
        if not asked.ids:
            raise UserError("No photos are selected: draw a lasso or a box around some.")
        items = [job.row(number)[1] for number in asked.ids]
        try:
            session = self._finetune_sessions.add_class(asked.session, asked.label, items, anew=asked.anew)
        except ReplacesSession as warning:
            return AddedClass(warning=str(warning))
        return AddedClass(session.id, len(session.classes))

    @page_route()
    def kept(self, asked: OfKeptMap, caller: Caller) -> KeptMap:
        """The page of a map of a large collection."""
        return KeptMap(kept(self._jobs.settings.maps_dir, asked.number))

    def _tokens(self, asked: OfPatches) -> np.ndarray:
        """The patch tokens of the requested photos and layer. Raises: UserError for too many photos, or an unknown layer."""
        job = self._jobs.get(asked.gallery)
        if not 1 <= len(asked.ids) <= MAX_TOGETHER:
            raise UserError(f"Choose from 1 to {MAX_TOGETHER} photos to look at together.")
        if asked.layer not in job.embedded().layers:
            raise UserError("There is no such layer in this model.")
        return self._jobs.patch_tokens(job, asked.ids, asked.layer)


def original(jobs: EmbeddingJobs, id: object, number: object) -> str:
    """Write a photo's original file under its own name. Returns: the file's path.

    Raises: UserError where the gallery, the photo or room on the disk is missing.
    """
    job = jobs.get(id)
    _, item = job.row(number)
    data = item.read(jobs.settings)
    return write(job, f"{number}/{item.shown}", data)


def _base64(numbers: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
