"""Scripts of the page as one script, for pages that can fetch nothing."""

import re
from pathlib import Path

import pytest

from vitdemo.ui import templating
from vitdemo.ui.templating import bundled, log_share


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(top="…", …): modules of these names and texts; `part` lies in a folder."""
    monkeypatch.setattr(templating, "STATIC", tmp_path)
    (tmp_path / "lib").mkdir()

    def modules(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{'lib/' if name == 'part' else ''}{name}.js").write_text(text, "utf-8")

    return modules


def test_each_module_comes_once_after_those_it_imports(write):
    write(
        part="export const part = (text) => text; // kept\n",
        left='import { part } from "./lib/part.js";\n\nexport class Left {}\n',
        right='import { Left } from "./left.js";\nimport { part } from "./lib/part.js";\n\nexport async function right() {}\n',
        top='// The top.\nimport { Left } from "./left.js";\nimport { right } from "./right.js";\n\nright(Left);\n',
    )
    lines = [line for line in bundled("top").splitlines() if line]
    assert lines == ["const part = (text) => text; // kept", "class Left {}", "async function right() {}", "// The top.", "right(Left);"]


@pytest.mark.parametrize(
    "line",
    [
        'import part from "./lib/part.js";',
        'import { part as other } from "./lib/part.js";',
        'import * as all from "./lib/part.js";',
        'import "./lib/part.js";',
        'import { part } from "./lib/part.js"',
        'import { part } from "elsewhere";',
        "import {",
        '  import { part } from "./lib/part.js";',
        'const part = await import("./lib/part.js");',
        "const here = import.meta.url;",
        "export default function mount() {}",
        "export const { a, b } = {};",
        "export { a };",
        'export * from "./lib/part.js";',
    ],
)
def test_a_form_that_is_not_understood_is_refused(write, line):
    write(part="export const part = 1;\n", top=f"{line}\n")
    with pytest.raises(ValueError, match="a bundle can't have"):
        bundled("top")


def test_a_circle_is_refused(write):
    write(
        top='import { other } from "./other.js";\nexport const top = 1;\n',
        other='import { top } from "./top.js";\nexport const other = 1;\n',
    )
    with pytest.raises(ValueError, match=r"top\.js imports itself"):
        bundled("top")


def test_a_name_that_two_modules_declare_is_refused(write):
    write(part="function name() {}\nexport const part = 1;\n", top='import { part } from "./lib/part.js";\nconst name = part;\n')
    with pytest.raises(ValueError, match=r"top\.js and part\.js both declare name"):
        bundled("top")


def test_the_maps_own_page_is_bundled_whole():
    text = bundled("photo_map/page")
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    for part in ("class Camera", "class PhotoMap", "class MapPanel", "class LayerStrip", "class Thumbnails", "const told = "):
        assert text.count(part) == 1
    assert "</script" not in text
    assert "fetch(" not in text
    assert Path(templating.STATIC, "photo_map/page.html").read_text("utf-8").count("<script") == 2  # the data, and this


def test_small_probabilities_have_a_length_on_the_logarithmic_scale():
    assert [log_share(share) for share in (1, 0.1, 0.01, 0.001, 0.0001)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert log_share(0) == log_share(1e-6) == 0
