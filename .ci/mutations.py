"""Do the default tests notice a small fault? Draws faults at random, the same for the same seed, and runs the tests on each.

    python .ci/mutations.py --count 20 --seed 1 --work DIR

copies the tree to DIR and makes one fault at a time there. It runs the tests of the changed file first, then the default tier until a
test fails, and prints a line for each fault: caught or missed, and by which test.
"""

import argparse
import ast
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "classify", "attention", "embeddings", "finetune", "export", "sketches", "bench", "ui")
COMPARE = {
    **{ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="},
    **{ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is"},
}
BINARY = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*"}


@dataclass(frozen=True)
class Mutation:
    """One fault: the text between two places of a file, and what takes its place."""

    path: Path
    line: int
    start: int
    end: int
    kind: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        lines = (root / self.path).read_text("utf-8").splitlines(keepends=True)
        raw = lines[self.line - 1].encode()
        lines[self.line - 1] = (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()
        (root / self.path).write_text("".join(lines), "utf-8")

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.kind}: {self.old} → {self.new}"


def mutations_of(path: Path) -> Iterator[Mutation]:
    """Every fault that can be made inside the functions of a file."""
    source = (ROOT / path).read_text("utf-8")
    rows = [row.encode() for row in source.splitlines()]

    def text(node: ast.AST) -> str:
        return rows[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

    def mutation(node: ast.AST, kind: str, new: str) -> Iterator[Mutation]:
        if node.lineno == node.end_lineno:
            yield Mutation(path, node.lineno, node.col_offset, node.end_col_offset, kind, text(node), new)

    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for statement in function.body:
            for node in ast.walk(statement):
                if getattr(node, "lineno", None) is None or node.lineno != node.end_lineno:
                    continue
                match node:
                    case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in COMPARE:
                        yield from mutation(node, "comparison", f"{text(left)} {COMPARE[type(operator)]} {text(right)}")
                    case ast.BinOp(left=left, op=operator, right=right) if type(operator) in BINARY and not isinstance(left, ast.JoinedStr):
                        yield from mutation(node, "operator", f"({text(left)}) {BINARY[type(operator)]} ({text(right)})")
                    case ast.BoolOp(op=operator, values=[left, right]):
                        yield from mutation(
                            node, "and/or", f"({text(left)}) {'or' if isinstance(operator, ast.And) else 'and'} ({text(right)})"
                        )
                    case ast.UnaryOp(op=ast.Not(), operand=operand):
                        yield from mutation(node, "not", text(operand))
                    case ast.Constant(value=bool() as value):
                        yield from mutation(node, "switch", str(not value))
                    case ast.Constant(value=int() | float() as value):
                        yield from mutation(node, "number", repr(value + 1))
                    case ast.Await(value=value):
                        yield from mutation(node, "await", text(value))
                    case ast.IfExp(test=test, body=body, orelse=other):
                        yield from mutation(node, "branches", f"{text(other)} if {text(test)} else {text(body)}")
                    case ast.Call(func=called, args=[first, second], keywords=[]) if not isinstance(first, ast.Starred):
                        yield from mutation(node, "arguments", f"{text(called)}({text(second)}, {text(first)})")


def draw(count: int, seed: int) -> list[Mutation]:
    """So many faults, from each room in turn; within a room every file, and within a file every line, has the same chance."""
    rng, drawn = random.Random(seed), []
    while len(drawn) < count:
        room = ROOMS[len(drawn) % len(ROOMS)]
        files = sorted(path.relative_to(ROOT) for path in (ROOT / "vitdemo" / room).rglob("*.py") if "templates" not in path.parts)
        found = list(mutations_of(rng.choice(files)))
        if found:
            line = rng.choice(sorted({each.line for each in found}))
            drawn.append(rng.choice([each for each in found if each.line == line]))
    return drawn


def tests_near(path: Path, root: Path) -> list[str]:
    """The tests of one file, then those of its folder."""
    mirrored = root / "tests" / path.relative_to("vitdemo").with_name(f"test_{path.name}")
    return [str(each.relative_to(root)) for each in (mirrored, mirrored.parent) if each.exists()]


def run(root: Path, *arguments: str) -> str | None:
    """The name of the test that failed; None where all passed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode in (0, 5):  # 5: there is none
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"exit status {done.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--list", action="store_true", help="only print the faults")
    flags = parser.parse_args()
    caught = 0
    for number, mutation in enumerate(draw(flags.count, flags.seed), 1):
        if flags.list:
            print(number, mutation)
            continue
        shutil.rmtree(flags.work, ignore_errors=True)
        shutil.copytree(ROOT, flags.work, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        mutation.apply(flags.work)
        begin = time.monotonic()
        failed = next(filter(None, (run(flags.work, near) for near in tests_near(mutation.path, flags.work))), None) or run(flags.work)
        caught += failed is not None
        print(f"{number:2} {'caught' if failed else 'MISSED'} {time.monotonic() - begin:4.0f} s  {mutation}  {failed or ''}", flush=True)
    if not flags.list:
        print(f"{caught} of {flags.count} caught")


if __name__ == "__main__":
    main()
