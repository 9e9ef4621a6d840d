"""The documentation is true: generated pages are current, links lead somewhere, flags exist, every requirement is explained."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apps import ROOT
from tests.support.small_vits import FAMILIES
from vitdemo import cli
from vitdemo.core.models.catalogue import find

README, CLI = ROOT / "README.md", ROOT / "docs" / "cli.md"
PAGES = [README, ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = {"models.md": "models_page", "settings.md": "settings_page"}
COMMANDS = ("pip install -r requirements.txt && python app.py", "pip install -r requirements-dev.txt && python -m pytest")
README_BYTES = 8000
SKETCHES_TRAIN = ROOT / "vitdemo" / "sketches" / "train.py"  # a program of its own, which imports torch
FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]*)")
OTHERS = {  # flags of other programs
    *("index-url", "no-index", "find-links"),  # pip
    *("multi_gpu", "num_processes", "cpu"),  # accelerate launch
    "nproc-per-node",  # torchrun
}


@pytest.fixture(scope="module")
def generator() -> dict:
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_current(generator, name):
    assert (ROOT / "docs" / name).read_text("utf-8") == generator[GENERATED[name]](), "run: python docs/generate.py"


def test_the_table_of_families_is_the_one_that_is_tried(generator):
    assert list(generator["FAMILIES"]) == list(FAMILIES)
    assert len(generator["CHECKS"]) == 8


def test_readme_is_short_and_has_the_commands():
    text = README.read_text("utf-8")
    assert len(text.encode()) < README_BYTES
    assert [command for command in COMMANDS if f"\n```\n{command}\n```\n" not in text] == []


def test_readme_names_models_of_the_catalogue():
    names = re.findall(r"^\| [^|]+ \| `([^`]+)` \| ([\d.]+) M \|", README.read_text("utf-8"), re.MULTILINE)
    assert len(names) == 5
    assert [(name, millions) for name, millions in names if str(find(name).millions) != millions] == []


def slug(heading: str) -> str:
    """A heading's #fragment, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(page: Path) -> set[str]:
    """The fragments of a Markdown page. Lines of code blocks are no headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """File and fragment of every relative link of a page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            path, _, fragment = target.partition("#")
            yield (page.parent / path).resolve() if path else page, fragment


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path, fragment in links(page):
        assert path.exists(), path
        assert path.is_relative_to(ROOT), path
        assert not fragment or fragment in headings(path), f"{path.name}#{fragment}"


def help_of(run, capsys, monkeypatch, *arguments: str) -> str:
    """What a program prints for --help."""
    monkeypatch.setattr("sys.argv", ["program", *arguments, "--help"])
    with pytest.raises(SystemExit):
        run()
    return capsys.readouterr().out


@pytest.fixture
def flags_of(capsys, monkeypatch) -> dict[str, set[str]]:
    """The flags of app.py (“app”), of the command line (“”) and of each of its commands."""
    app = runpy.run_path(str(ROOT / "app.py"))["main"]
    top = help_of(cli.main, capsys, monkeypatch)
    texts = {"app": help_of(app, capsys, monkeypatch), "": top}
    texts |= {name: help_of(cli.main, capsys, monkeypatch, name) for name in re.findall(r"^ {4}([a-z]+)(?:\s|$)", top, re.MULTILINE)}
    return {name: set(FLAG.findall(text)) for name, text in texts.items()}


def test_flags_exist(flags_of):
    known = set().union(*flags_of.values(), FLAG.findall(SKETCHES_TRAIN.read_text("utf-8")), OTHERS)
    assert {"model", "top", "map", "unfreeze", "calibrate", "count", "runs"} <= known
    assert [(page.name, flag) for page in PAGES for flag in FLAG.findall(page.read_text("utf-8")) if flag not in known] == []


def test_every_flag_of_the_command_line_is_documented(flags_of):
    documented = set(FLAG.findall(CLI.read_text("utf-8")))
    assert {name: flags - documented for name, flags in flags_of.items() if name != "app" and flags - documented} == {}


@pytest.mark.parametrize(
    ("name", "included"),
    [
        ("requirements.txt", ()),
        ("requirements-scale.txt", ()),
        ("requirements-bench.txt", ("-r requirements-dev.txt", "-r requirements-scale.txt")),
    ],
)
def test_every_requirement_is_pinned_and_explained(name, included):
    path = ROOT / name
    assert path.is_file(), f"{name} is missing: -m slow and the benches are installed from it"
    lines = path.read_text("utf-8").splitlines()
    assert tuple(line for line in lines if line.startswith("-r ")) == included
    for line in lines[len(included) :]:
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.]+ +# \S.*", line), line


def test_the_test_requirements_include_the_apps_own():
    assert (ROOT / "requirements-dev.txt").read_text("utf-8").startswith("-r requirements.txt\n")
