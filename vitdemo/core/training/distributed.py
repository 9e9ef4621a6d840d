"""Several processes that train one model together, started by `accelerate launch`, `torchrun` or Ray Train."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as group


@contextmanager
def process_group(folder: Path) -> Iterator[tuple[Path, int | None]]:
    """Join the other training processes, if any. Yields the folder to write to, and this process's rank (None for a single process).

    Rank 0 writes to `folder`. Each other rank resumes from a temporary copy of rank 0's run, writes to the copy, and removes it at the end.
    """
    joined_already = group.is_initialized()  # by Ray Train, which also destroys the group
    if not joined_already and int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield folder, None
        return
    if not joined_already:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        group.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    scratch = Path(tempfile.mkdtemp(prefix="vitdemo-process-"))
    try:
        rank = group.get_rank()
        if rank and (folder / "run").is_dir():
            shutil.copytree(folder / "run", scratch / "run")
        group.barrier()
        yield (scratch if rank else folder), rank
    finally:
        if not joined_already:
            group.destroy_process_group()
        shutil.rmtree(scratch, ignore_errors=True)
