"""`python -m vitdemo embed`: write a gallery's vectors, and its map, to a file."""

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import MODEL_FLAGS, PHOTO_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError, as_usage_error
from vitdemo.core.figures import counted, percent
from vitdemo.core.terminal import CLEAR, printable, progress_line

if TYPE_CHECKING:
    from vitdemo.embeddings.vectors.gallery import EmbeddingRow

POOLS = ("cls", "mean", "patches")
NEIGHBOURS = 5  # per photo, in the output file


def add(commands) -> None:
    """Add the `embed` command to the command line."""
    command = commands.add_parser("embed", help="photos as vectors of any layer, and their map")
    command.add_argument("paths", nargs="+", metavar="PATH", help="a photo, a folder or zip of photos, a pattern or a URL")
    command.add_argument(
        "--layer", default="final", metavar="L", help="a block's output, from 1, or final: after the last norm (default: final)"
    )
    command.add_argument("--pool", default="cls", metavar="HOW", help="cls, mean (of the patches) or patches: each of them (default: cls)")
    command.add_argument("--map", type=int, metavar="D", help="draw a map as well, in 2 or 3 dimensions, with clusters")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the map's: the same seed draws the same map (default: 0)")
    command.add_argument("--output", metavar="F", help="a .npz, .csv or .parquet file; a folder for ray")
    bulk.add_flags(command)
    Settings.add_flags(command, (*MODEL_FLAGS, "batch_size", "jpeg_draft", *PHOTO_FLAGS, "vector_cache_mb", "cache_dir", "map_timeout"))
    command.set_defaults(run=_embed)


def _embed(flags: argparse.Namespace) -> int:
    if flags.pool not in POOLS:
        raise UsageError(f"--pool is “{flags.pool}”, but it must be one of {', '.join(POOLS)}.")
    if flags.map is not None and flags.pool == "patches":
        raise UsageError("--map draws one point for each photo: give --pool cls or mean with it.")
    bulk.check_flags(flags)
    if flags.engine == "ray":
        if flags.map is not None:
            raise UsageError("--map draws with --engine local: draw a map of what Ray writes with “python -m vitdemo map DIR”.")
        from vitdemo.embeddings import ray

        return ray.run(flags)
    flags.output = flags.output and Path(flags.output)
    settings = Settings.read(flags)
    from vitdemo.embeddings import files
    from vitdemo.embeddings.maps.atlas import MapOptions

    with as_usage_error():
        options = None if flags.map is None else MapOptions(dimensions=flags.map, seed=flags.seed)
        if flags.output:
            files.check_format(flags.output, flags.pool)
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.photos.given import photos_given
    from vitdemo.embeddings.vectors import extract

    items = photos_given(flags.paths, settings)
    if flags.output:
        files.check_output(flags.output, flags.pool)
    store = ModelStore(settings)
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    with as_usage_error():
        layer = extract.check_layer(vit, flags.layer)
        if flags.pool != "patches":
            extract.check_pool(vit, flags.pool)
    progress = _Progress(len(items))
    if flags.pool == "patches":
        return _patches(flags, items, vit, store.engine, settings, layer, progress)
    return _vectors(flags, items, vit, store.engine, settings, layer, options, progress)


class _Progress:
    """Progress and errors on the terminal while photos go through the model, and the exit status."""

    def __init__(self, total: int):
        self.status = 0
        self._total, self._begin, self._reported = total, time.monotonic(), 0
        self._show_progress = sys.stderr.isatty()

    @contextmanager
    def keep_results(self, rows: list):
        """Catch an interruption or error of the work inside the context, so that finished rows are kept."""
        try:
            yield
        except KeyboardInterrupt:
            self.status = 130
            print(f"\nvitdemo: stopped after {len(rows)} of {self._total} photos.", file=sys.stderr)
        except UserError as error:  # such as too little memory
            if not rows:
                raise
            self.status = 1
            print(f"\nvitdemo: {error} This was after {len(rows)} of {self._total} photos.", file=sys.stderr)

    def report(self, rows: list) -> None:
        """Print the errors of the rows added since the last call, and the progress."""
        for row in rows[self._reported :]:
            if row.error:
                print(f"{CLEAR if self._show_progress else ''}vitdemo: {row.error}", file=sys.stderr)
        self._reported = len(rows)
        if self._show_progress and rows:
            end = "" if len(rows) < self._total else "\n"
            print(f"\r{progress_line(len(rows), self._total, time.monotonic() - self._begin)}", end=end, file=sys.stderr, flush=True)


def _vectors(flags, items, vit, engine, settings, layer, options, progress: _Progress) -> int:
    from vitdemo.core.photos.prefetch import sum_up
    from vitdemo.embeddings import files
    from vitdemo.embeddings.maps.mapper import Mapper
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

    mapper = Mapper(settings) if options else None
    if mapper:
        mapper.warm()
    embedding = EmbeddingGallery(items, vit, engine, settings)
    with progress.keep_results(embedding.rows):
        for _ in embedding.work():
            progress.report(embedding.rows)
    rows = embedding.done
    if not rows:
        return progress.status or 1
    vectors, map_columns = embedding.vectors(layer, flags.pool), None
    print(f"{counted(len(rows), 'photo')} × {vectors.shape[1]} numbers, layer {layer}, {flags.pool}", file=sys.stderr)
    for note in sum_up(row.notes for row in rows):
        print(f"vitdemo: {note}", file=sys.stderr)
    _print_scores(layer, vectors, rows)
    if mapper:
        try:
            map_columns = _draw_map(mapper, vectors, options, rows)
        except KeyboardInterrupt:
            progress.status = 130
            print("\nvitdemo: stopped before the map was drawn; the vectors are there.", file=sys.stderr)
        except UserError as error:
            progress.status = 1
            print(f"\nvitdemo: {error} The vectors are there.", file=sys.stderr)
        finally:
            mapper.close()
    if flags.output:
        files.write_vectors(flags.output, embedding.rows, vectors, model=vit.id, layer=layer, pooling=flags.pool, mapped=map_columns)
        print(f"vectors in {flags.output}: {len(rows)}, files with errors: {len(embedding.rows) - len(rows)}", file=sys.stderr)
    return progress.status


def _print_scores(layer, vectors, rows) -> None:
    from vitdemo.embeddings.maps.scores import NEIGHBOURS, score_layer

    distinct = [place for place, row in enumerate(rows) if row.duplicate_of is None]
    score = score_layer(layer, vectors[distinct], [rows[place].folder for place in distinct])
    if score.accuracy is not None:
        print(
            f"folders as labels: {percent(score.accuracy)} of photos are labelled right by their {NEIGHBOURS} nearest"
            + ("" if score.silhouette is None else f", silhouette {score.silhouette:.2f}"),
            file=sys.stderr,
        )


def _draw_map(mapper, vectors, options, rows):
    from vitdemo.embeddings.files import Mapped
    from vitdemo.embeddings.maps.atlas import Atlas
    from vitdemo.embeddings.maps.clusters import name_clusters
    from vitdemo.embeddings.maps.nearest import nearest

    show_progress = sys.stderr.isatty()
    for step in mapper.map(vectors, options):
        if isinstance(step, Atlas):
            atlas = step
        elif show_progress:
            print(f"{CLEAR}{step.phase} {step.done}/{step.total} ", end="", file=sys.stderr, flush=True)
    names = name_clusters(atlas.clusters, [row.predictions[0].label.name if row.predictions else "" for row in rows])
    noise = int((atlas.clusters < 0).sum())
    trust = "" if atlas.trust is None else f", trustworthiness {atlas.trust:.3f}"
    print(
        f"{CLEAR if show_progress else ''}map in {options.dimensions} dimensions{trust}: {len(names)} clusters, {noise} photos in none",
        file=sys.stderr,
    )
    for cluster, name in enumerate(names):
        print(f"  {int((atlas.clusters == cluster).sum()):5}  {printable(name)}", file=sys.stderr)
    neighbours, distances = nearest(vectors, NEIGHBOURS)
    return Mapped(atlas, names, [[rows[place].path for place in places] for places in neighbours], distances)


def _patches(flags, items, vit, engine, settings, layer, progress: _Progress) -> int:
    import numpy as np

    from vitdemo.embeddings import files
    from vitdemo.embeddings.vectors.patch_gallery import patch_gallery

    rows: list[EmbeddingRow] = []
    done, shape = 0, (0, 0)  # finished photos, and the shape of one photo's tokens
    with tempfile.TemporaryFile(dir=settings.temp_dir) as file:
        offsets: list[int] = []  # file offset of each distinct photo's tokens
        with progress.keep_results(rows):
            for row, tokens in patch_gallery(items, vit, engine, settings, layer):
                if row.at is not None:
                    if tokens is None:
                        file.seek(offsets[row.at])
                        data = file.read(4 * int(np.prod(shape)))
                        file.seek(0, 2)
                    else:
                        offsets.append(file.tell())
                        shape, data = tokens.shape, np.ascontiguousarray(tokens).tobytes()
                    file.write(data)
                    done += 1
                rows.append(row)
                progress.report(rows)
        if not done:
            return progress.status or 1
        file.flush()
        print(f"{counted(done, 'photo')} × {shape[0]} patches × {shape[1]} numbers, layer {layer}", file=sys.stderr)
        if flags.output:
            tokens_of_photos = np.memmap(file, np.float32, "r", shape=(done, *shape))
            files.write_vectors(flags.output, rows, tokens_of_photos, model=vit.id, layer=layer, pooling="patches")
            print(f"photos in {flags.output}: {done}, files with errors: {len(rows) - done}", file=sys.stderr)
    return progress.status
