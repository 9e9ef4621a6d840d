"""The child's side of a job: its events, and its end. Both do nothing where a person started the command."""

import _thread
import json
import os
import signal
import threading

from vitdemo.core.niceness import lower_priority

EVENTS_VARIABLE = "VITDEMO_EVENTS"  # the file that a child writes its events to


def emit_event(event: dict) -> None:
    """In a child process: write an event for the app to read. Does nothing where a person started the command.

    The `text` of an event of kind `error` is the sentence that the command ends with.
    """
    if path := os.environ.get(EVENTS_VARIABLE):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def stop_with_parent() -> None:
    """In a child process: lower the CPU priority, and stop as if by Ctrl-C once standard input closes.

    Does nothing where a person started the command.
    """
    if EVENTS_VARIABLE not in os.environ:
        return
    lower_priority()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits an ignored SIGINT from an app in a script's background

    def listen() -> None:
        while os.read(0, 1024):  # not sys.stdin.read: holding the lock of sys.stdin would keep the child from exiting
            pass
        _thread.interrupt_main()

    threading.Thread(target=listen, name="attend", daemon=True).start()
