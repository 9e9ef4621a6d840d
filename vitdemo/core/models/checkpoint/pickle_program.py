"""The process that opens a pickle for `convert`: alone, without a network, without the operator's environment.

Three things stand between a hostile file and this machine: torch reads values only (`pickles.py`); an audit hook ends the process if
anything asks for a network, another process or a file to write; and where Linux allows it, the process is in an empty network of its own.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # Linux: sched.h
FORBIDDEN = (  # the beginnings of what Python's audit hooks report
    *("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "subprocess.", "pty.", "ctypes.", "shutil."),
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.kill",
        "os.remove",
        "os.rename",
        "os.link",
        "os.symlink",
        "os.chmod",
    ),
)


def leave_network() -> None:
    """Move this process, while it has one thread, into an empty network. A container may refuse: then the audit hook alone stands there."""
    if sys.platform == "linux":
        unshare = ctypes.CDLL(None).unshare
        if unshare(CLONE_NEWNET):  # only root may do that
            unshare(CLONE_NEWUSER | CLONE_NEWNET)


def shut_in() -> None:
    """Give up everything that reading tensors does not need, for the rest of this process."""

    def forbid(event: str, arguments: tuple) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event.startswith(FORBIDDEN) or writes:
            os.write(2, f"the file asked for {event}\n".encode())
            os._exit(3)

    sys.addaudithook(forbid)


def main(source: Path, output: Path) -> None:
    """Convert `source` to `output`, and print what was done, or the sentence why it was not, as JSON."""
    leave_network()
    from vitdemo.core.errors import UserError
    from vitdemo.core.models.checkpoint import pickles

    with source.open("rb") as file, output.open("wb") as written:
        shut_in()
        try:
            state, notes = pickles.read(file, source.name)
            written.write(pickles.as_safetensors(state))
            print(json.dumps({"notes": notes, "tensors": len(state)}))
        except UserError as error:
            print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
