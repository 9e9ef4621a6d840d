"""A side of a bench, for test_sides.py: it counts its turns, or ends in the middle."""

import json
import sys

from vitdemo.bench.sides import serve

if __name__ == "__main__":
    (word, most) = json.loads(sys.argv[1])
    turns: list[str] = []

    def work() -> dict:
        if len(turns) > most:
            sys.exit(3)
        turns.append(word)
        return {"turns": len(turns), "word": word}

    serve(lambda: turns.append("warm"), work)
