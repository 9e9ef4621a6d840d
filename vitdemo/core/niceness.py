"""CPU priority: long work yields the cores to short work."""

import contextlib
import os
import threading

NICE_STEPS = 10  # added niceness: a tenth of the CPU time of other threads when the cores are busy


def lower_priority() -> None:
    """Lower the CPU priority of the calling thread; in the main thread, of the whole process and the threads it starts later.

    Only Linux has a priority per thread. Elsewhere the call changes nothing outside the main thread.
    """
    with contextlib.suppress(AttributeError, OSError):
        if threading.current_thread() is threading.main_thread():
            os.nice(NICE_STEPS)
        elif os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE_STEPS)
