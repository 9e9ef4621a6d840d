"""Lets `python -m vitdemo …` run the command line."""

import sys

from vitdemo.cli import main

if __name__ == "__main__":
    sys.exit(main())
