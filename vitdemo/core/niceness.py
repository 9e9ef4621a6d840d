"""Who gets the cores first: long work stands back, so that short work isn't kept waiting."""

import contextlib
import os
import threading

NICE_STEPS = 10  # steps: a tenth of what others get, where all want the cores


def lower_priority() -> None:
    """Let the calling thread have what others leave of the cores; in the main thread, the whole process that comes of it.

    Only Linux gives each thread a priority of its own; elsewhere threads are left as they are, and processes stand back.
    """
    with contextlib.suppress(AttributeError, OSError):
        if threading.current_thread() is threading.main_thread():
            os.nice(NICE_STEPS)
        elif os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE_STEPS)
