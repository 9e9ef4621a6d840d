"""`python -m vitdemo map`: draw a map of any number of vectors from `embed --engine ray`, as Parquet or as one HTML page."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.config import PHOTO_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError, as_usage_error
from vitdemo.core.terminal import CLEAR, printable
from vitdemo.embeddings.defaults import DEFAULT_SAMPLE_ROWS

if TYPE_CHECKING:
    import numpy as np

    from vitdemo.embeddings.collection import Collection
    from vitdemo.embeddings.maps.large import LargeAtlas

SUFFIXES = (".parquet", ".html")
NEIGHBOURS = 5  # per photo, in the output file
MIN_SAMPLE_ROWS = 100


@dataclass(frozen=True, eq=False)
class LargeMap:
    """A finished map and its collection.

    Attributes:
        drawn: the map.
        names: the clusters' names, cluster 0 first.
        neighbours: (n, 5) row numbers of each photo's nearest neighbours, −1 for none.
        remote: (n,) each photo's mean distance to these neighbours.
    """

    collection: "Collection"
    drawn: "LargeAtlas"
    names: list[str]
    neighbours: "np.ndarray"
    remote: "np.ndarray"

    @property
    def said(self) -> str:
        """A text that says how many photos were sampled and how many were placed afterwards."""
        count, sampled = len(self.drawn.sampled), int(self.drawn.sampled.sum())
        if sampled == count:
            return f"laid out by all {count:,} photos"
        return f"laid out by {sampled:,} photos drawn at random, the other {count - sampled:,} placed among them"


def add(commands, page: Callable[[LargeMap, int, Settings], str]) -> None:
    """Add the `map` command to the command line.

    Args:
        page: function that turns a map and a number of pictures into one HTML page.
    """
    command = commands.add_parser("map", help="the map of what embed --engine ray wrote, of any size")
    command.add_argument("folder", metavar="DIR", help="what embed --engine ray wrote; a folder or a URL")
    command.add_argument(
        "--output", type=Path, required=True, metavar="F", help="a .parquet file, or .html: one page that needs nothing else"
    )
    command.add_argument("--predictions", metavar="DIR", help="what classify --engine ray wrote of the same photos: it names clusters")
    command.add_argument("--dimensions", type=int, default=2, metavar="D", help="2 or 3 (default: 2)")
    command.add_argument("--neighbours", type=int, default=15, metavar="N", help="that a point is held to (default: 15)")
    command.add_argument(
        "--sample", type=int, default=DEFAULT_SAMPLE_ROWS, metavar="N", help=f"photos that lay the map out (default: {DEFAULT_SAMPLE_ROWS})"
    )
    command.add_argument("--pictures", type=int, default=1000, metavar="N", help="small pictures in the page (default: 1000)")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same map (default: 0)")
    Settings.add_flags(command, ("cache_dir", *PHOTO_FLAGS))
    command.set_defaults(run=lambda flags: _map(flags, page))


def _map(flags: argparse.Namespace, page: Callable[[LargeMap, int, Settings], str]) -> int:
    if flags.output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--output must end in {' or '.join(SUFFIXES)}.")
    if flags.sample < MIN_SAMPLE_ROWS:
        raise UsageError(f"--sample must be {MIN_SAMPLE_ROWS} or more.")
    if flags.pictures < 0:
        raise UsageError("--pictures must be 0 or more.")
    settings = Settings.read(flags)
    from vitdemo.core.outputs import check_writable, unwritable
    from vitdemo.embeddings.collection import read_collection, write_map
    from vitdemo.embeddings.maps.atlas import MIN_ROWS, MapOptions
    from vitdemo.embeddings.maps.mapper import keep_compiled

    with as_usage_error():
        options = MapOptions(dimensions=flags.dimensions, neighbours=flags.neighbours, seed=flags.seed)
    check_writable(flags.output)
    keep_compiled(settings.cache_folder / "compiled")
    collection = read_collection(flags.folder, flags.predictions)
    if len(collection.paths) <= MIN_ROWS:
        raise UserError(f"There are {len(collection.paths)} vectors in {flags.folder}, too few for a map: embed more photos.")
    begin = time.monotonic()
    large_map = _draw_map(collection, options, flags.sample)
    if flags.output.suffix.lower() == ".html":
        text = page(large_map, flags.pictures, settings)
        try:
            flags.output.write_text(text, "utf-8")
        except OSError as error:
            raise unwritable(flags.output, error) from None
    else:
        write_map(flags.output, collection, large_map.drawn, large_map.names, large_map.neighbours)
    trust = large_map.drawn.atlas.trust
    trusted = "" if trust is None else f" trustworthiness {trust:.3f}, judged by {large_map.drawn.judged:,} of them;"
    print(
        f"{large_map.said};{trusted} {len(large_map.names)} clusters; "
        f"{collection.left_out} photos without a vector left out; {time.monotonic() - begin:.0f} s",
        file=sys.stderr,
    )
    for cluster, name in enumerate(large_map.names[:20]):
        print(f"  {int((large_map.drawn.atlas.clusters == cluster).sum()):7}  {printable(name)}", file=sys.stderr)
    return 0


def _draw_map(collection: "Collection", options, sample: int) -> LargeMap:
    from vitdemo.embeddings.maps.clusters import name_clusters
    from vitdemo.embeddings.maps.large import Neighbours, draw_sampled

    show_progress = sys.stderr.isatty()

    def print_step(step) -> None:
        if show_progress:
            print(f"{CLEAR}{step.phase} {step.done}/{step.total} ", end="", file=sys.stderr, flush=True)

    drawn = draw_sampled(collection.vectors, options, sample, print_step, ids=collection.ids)
    count = min(NEIGHBOURS, len(collection.paths) - 1)
    neighbours, distances = Neighbours(collection.vectors, options.metric).of_itself(collection.vectors, count)
    if show_progress:
        print(CLEAR, end="", file=sys.stderr)
    names = name_clusters(drawn.atlas.clusters, collection.predictions)
    return LargeMap(collection, drawn, names, neighbours, distances.mean(1))
