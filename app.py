"""The web app: flags → Settings → page → server. `python app.py --help` lists the flags."""

import argparse
import os
import sys

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.memory import give_back_freed_memory


def main() -> int:
    """Serve the page until Ctrl-C or SIGTERM. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Look inside a Vision Transformer, in the browser.")
    Settings.add_flags(parser)
    try:
        settings = Settings.read(parser.parse_args())
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr)
        return 2
    give_back_freed_memory()
    from vitdemo.ui.serve import serve

    try:
        serve(settings)
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nvitdemo: stopped.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is closed by now; a normal exit would spend seconds unloading torch
