"""`python -m vitdemo convert`: a pickle that the operator trusts becomes SafeTensors, in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.outputs import check_suffix, check_writable, unwritable

ROOT = Path(__file__).parents[4]
KEPT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "TEMP")  # of the environment: no tokens, no proxies


def add(commands) -> None:
    """Add the `convert` command to the command line."""
    command = commands.add_parser("convert", help="a pickled checkpoint that you trust, as SafeTensors")
    command.add_argument("file", type=Path, metavar="FILE", help="a .pth, .pt, .bin or .ckpt file")
    command.add_argument("--output", type=Path, required=True, metavar="F", help="the .safetensors file to write")
    command.set_defaults(run=_convert)


def _convert(flags: argparse.Namespace) -> int:
    check_suffix(flags.output, [".safetensors"])
    for line in convert(flags.file, flags.output):
        print(line, file=sys.stderr)
    return 0


def convert(source: Path, output: Path) -> list[str]:
    """Convert a pickle, in a process that has no network and none of this one's environment.

    Returns: what was done, a sentence each.
    Raises: UserError for a file that is no pickle, or holds more than tensors; nothing is written then.
    """
    from vitdemo.core.models.checkpoint.kinds import check_safetensors, is_pickle

    if not source.is_file():
        raise UsageError(f"There is no file {source}: check the path.")
    if not is_pickle(source):
        check_safetensors(source)
        raise UserError(f"{source.name} is no pickle, so there is nothing to convert: give it with --checkpoint as it is.")
    check_writable(output)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".convert-") as folder:  # absolute: the process runs in it
            partial = Path(folder, "model.safetensors")
            environ = {name: os.environ[name] for name in KEPT if name in os.environ}
            done = subprocess.run(
                [sys.executable, "-P", "-m", "vitdemo.core.models.checkpoint.pickle_program", str(source.absolute()), str(partial)],
                env=environ | {"PYTHONPATH": str(ROOT), "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=folder,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            answer = _answer(done, source)
            os.replace(partial, output)
    except OSError as error:
        raise unwritable(output, error) from None
    return [*answer["notes"], f"{answer['tensors']:,} tensors in {output}."]


def _answer(done: subprocess.CompletedProcess, source: Path) -> dict:
    """The program's answer. Raises: UserError with its sentence, or where it died."""
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        reason = next((line for line in done.stderr.splitlines() if line.startswith("the file asked for")), "its process died")
        raise UserError(f"{source.name} could not be converted ({reason}): do not trust it, and ask its owner for SafeTensors.") from None
    if "error" in answer:
        raise UserError(answer["error"])
    return answer
