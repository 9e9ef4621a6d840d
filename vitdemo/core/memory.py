"""Memory that is freed goes back to the system.

glibc serves large blocks by mmap, which returns them when they are freed, but each such block raises the size from which it does so, up to
32 MB. After a few photos the next ones come from heaps that hardly ever shrink: 36 photos of 48 megapixels, four at a time, left the app at
1.6 GB instead of 1.0. A threshold that is set stays put.
"""

import ctypes
import sys

M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
THRESHOLD = 1 << 20  # bytes


def give_back_freed_memory() -> bool:
    """Fix glibc's threshold. Returns whether this system has one."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, THRESHOLD))
