"""The command line, `python -m vitdemo …`: one command per room."""

import argparse
import sys
from contextlib import suppress

from vitdemo import __version__
from vitdemo.attention import command as attention
from vitdemo.bench import command as bench
from vitdemo.classify import command as classify
from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.jobs.child import emit_event, stop_with_parent
from vitdemo.core.memory import give_back_freed_memory
from vitdemo.core.models.checkpoint import command as convert
from vitdemo.embeddings import command as embeddings
from vitdemo.embeddings import map_command as maps
from vitdemo.export import command as export
from vitdemo.finetune import command as finetune
from vitdemo.sketches import command as sketches


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns its exit status: 1 where it failed, 2 for wrong usage, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m vitdemo", description="Take a Vision Transformer apart, without the browser.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    classify.add(commands)
    attention.add(commands)
    embeddings.add(commands)
    maps.add(commands, _map_page)
    finetune.add(commands)
    export.add(commands)
    convert.add(commands)
    sketches.add(commands)
    bench.add(commands)
    flags = parser.parse_args(arguments)
    give_back_freed_memory()
    stop_with_parent()
    try:
        status = flags.run(flags)
        print(end="", flush=True)  # what can't be written is known now, and not at the interpreter's end
        return status
    except UserError as error:
        emit_event({"kind": "error", "text": str(error)})
        print(f"vitdemo: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nvitdemo: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that read the output has closed the pipe, as `head` does
        sys.stderr.close()
        return 1
    except OSError as error:
        if not _stdout_fails():
            raise
        print(f"vitdemo: The standard output can't be written ({error.strerror}): send it elsewhere.", file=sys.stderr)
        return 1


def _stdout_fails() -> bool:
    """Whether the standard output can't be written, which one more line tells; then it is closed, and what it still holds is lost."""
    try:
        print(flush=True)
    except OSError:
        with suppress(OSError):
            sys.stdout.close()
        return True
    return False


def _map_page(large_map: maps.LargeMap, pictures: int, settings: Settings) -> str:
    from vitdemo.ui.tabs.embeddings.map_pages import page

    return page(large_map, pictures, settings)
