"""The house keeps its shape: imports run one way and in no circle, the page opens light, the docs tell the truth about settings."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.support.apps import ROOT

PACKAGE = ROOT / "vitdemo"
RIVALS = ("bench/load_plain.py",)  # programs that this one is measured against
MODULES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in PACKAGE.rglob("*.py") if "templates" not in path.parts}
LARGE_ROOMS = ("bench", "sketches")  # may hold as many modules as there are measurements and drawn things
ORDERS = {  # each may import itself and what stands before it
    "vitdemo": (
        "core",
        "classify attention embeddings finetune export sketches",
        "bench ui",
        "cli __main__",
    ),
    "vitdemo.core": (
        "errors figures outputs terminal niceness values config memory",
        "names",
        "photos",
        "models",
        "inference",
        "training jobs",
        "bulk",
    ),
    "vitdemo.ui": ("errors packing templating theme", "server", "sessions", "components", "tabs", "visitors", "page", "serve"),
    "vitdemo.attention": (
        "methods",
        "drawing",
        "question",
        "evaluation class_snippet files",
        "snippet compare_command photo",
        "gallery_command",
        "command",
    ),
    "vitdemo.embeddings": ("defaults progress", "vectors", "maps", "files collection", "command map_command ray"),
    "vitdemo.finetune": ("recipe", "data", "scores", "heads", "learning", "launch_commands local hub", "ray", "command"),
}


def imported(path: Path) -> Iterator[str]:
    """Every module and name that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    known = set(MODULES.values())
    found = set()
    for name in imported(path):
        while name and name not in known:
            name = name.rpartition(".")[0]
        found |= {name} - {"", MODULES[path]}
    return found


def test_imports_run_one_way():
    upward = []
    for path, module in MODULES.items():
        for other in imported_modules(path):
            for room, levels in ORDERS.items():
                if module.startswith(f"{room}.") and other.startswith(f"{room}."):
                    here, there = (name.removeprefix(f"{room}.").split(".")[0] for name in (module, other))
                    ranks = {name: rank for rank, level in enumerate(levels) for name in level.split()}
                    if there != "__init__" and here != "__init__" and here != there and ranks[here] < ranks[there]:
                        upward.append(f"{module} → {other}")
    assert upward == []


def test_no_science_room_imports_another():
    rooms = ("classify", "attention", "embeddings", "finetune", "export", "sketches")
    crossing = []
    for path, module in MODULES.items():
        here = module.split(".")[1]
        crossing += [
            f"{module} → {other}"
            for other in imported_modules(path)
            if here in rooms and other.split(".")[1] not in (here, "core", "__init__")
        ]
    assert crossing == []


def test_files_import_each_other_in_no_circle():
    graph = {module: imported_modules(path) for path, module in MODULES.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None


def test_gradio_stays_in_the_page():
    outside = [
        path for path in MODULES if "ui" not in path.relative_to(PACKAGE).parts and path.relative_to(PACKAGE).as_posix() not in RIVALS
    ]
    assert [str(path) for path in outside if any(name.split(".")[0] == "gradio" for name in imported(path))] == []


def test_what_gradio_does_not_promise_stays_in_one_file():
    touching = []
    for path in (PACKAGE / "ui").rglob("*.py"):
        if path.name == "gradio_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and ast.unparse(node.value) not in ("self", "cls"):
                touching.append(f"{where} {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and re.match("_[^_]", node.arg or ""):
                touching.append(f"{where} {node.arg}=")
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            touching += [f"{where} {name}" for name in names if re.match(r"(gradio|uvicorn)\.|gradio_client", name)]
    assert touching == []


def test_no_room_holds_more_than_fourteen_modules():
    folders = [folder for folder in PACKAGE.rglob("*") if folder.is_dir() and folder.relative_to(PACKAGE).parts[0] not in LARGE_ROOMS]
    modules = {
        folder: [path for path in folder.iterdir() if path.suffix in (".py", ".js") and path.name != "__init__.py"] for folder in folders
    }
    assert [str(folder) for folder, paths in modules.items() if len(paths) > 14] == []
