"""The house keeps its shape: imports run one way, the page opens light, the README tells the truth about settings."""

import ast
import re
import subprocess
import sys
from dataclasses import fields

import pytest

from tests.conftest import ROOT
from vitdemo.core.config import Settings

RIVALS = ("bench/load_plain.py",)  # programs that this one is measured against
MODULES = sorted((ROOT / "vitdemo").rglob("*.py"))


def imported(path) -> set[str]:
    """Every module a file names in an import, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{each.name}" for each in node.names}
    return names


def room(module: str) -> str:
    """vitdemo.core.photos → core."""
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    inside = path.relative_to(ROOT / "vitdemo")
    here = inside.parts[0].removesuffix(".py")
    ours = {room(name) for name in imported(path) if name.startswith("vitdemo.")}
    if here == "core":
        assert ours <= {"core"}
    elif here not in ("ui", "cli", "bench", "__main__", "__init__"):
        assert ours <= {"core", here}
    if here != "ui" and inside.as_posix() not in RIVALS:
        assert not any(name.split(".")[0] == "gradio" for name in imported(path))


def test_the_page_is_built_without_anything_heavy():
    script = (
        "import sys; from vitdemo.core.config import Settings; from vitdemo.core.store import ModelStore; from vitdemo.ui import page;"
        "page.build(Settings(), ModelStore(Settings()));"
        "print(*sorted({'torch', 'timm', 'torchvision', 'umap', 'numba', 'sklearn', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_readme_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `--([a-z-]+)` \| `(VITDEMO_[A-Z_]+)` \| (.*?) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    wanted = []
    for each in fields(Settings):
        default = "" if each.default in (None, False, "") else f"`{each.default}`"
        wanted.append((each.name.replace("_", "-"), f"VITDEMO_{each.name.upper()}", default))
    assert rows == wanted


def test_the_readme_names_every_model_of_the_catalogue():
    from vitdemo.core.catalogue import CATALOGUE

    text = (ROOT / "README.md").read_text("utf-8")
    assert [each.name for each in CATALOGUE if f"`{each.name}`" not in text] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-scale.txt"])
def test_every_requirement_is_pinned_and_explained(name):
    for line in (ROOT / name).read_text("utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.]+ +# \S.*", line), line
    assert (ROOT / "requirements-dev.txt").read_text("utf-8").startswith("-r requirements.txt\n-r requirements-scale.txt\n")
