"""The output folder of a bundle, which is new or empty: the bundle is written in a temporary folder next to it, then moved there."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import unwritable

MIN_FREE_BYTES = 1_000_000  # a disk with less free space counts as full


@contextmanager
def beside(output: Path, needed: int) -> Iterator[Path]:
    """Yield a temporary folder next to the output folder, on the same disk. It is deleted afterwards unless it was moved.

    Raises: UserError where the disk has less free space than `needed` bytes, or fills up.
    """
    parent = output.absolute().parent
    if shutil.disk_usage(parent).free < needed:
        raise UserError(f"The disk of {parent} has less room than this export needs ({needed / 1e6:.0f} MB): choose another place.")
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=parent))
    try:
        folder.chmod(0o755)
        yield folder
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(parent).free < MIN_FREE_BYTES:  # torch and safetensors raise errors of their own
            raise UserError(f"The disk of {parent} is full, and nothing was kept: make room, or choose another place.") from None
        raise unwritable(output, error) if isinstance(error, OSError) else error from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move(folder: Path, output: Path) -> None:
    """Move the temporary folder to the output folder, if that is still free: another export may have filled it meanwhile.

    Raises: UserError where the output folder is no longer empty.
    """
    try:
        if output.is_dir():
            output.rmdir()
        folder.rename(output)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UserError(f"{output} was filled by something else meanwhile, and nothing is overwritten: give another folder.") from None
        raise
