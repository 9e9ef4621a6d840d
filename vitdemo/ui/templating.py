"""Render HTML from the templates in static/, with every value escaped.

Pictures become data URIs, so that no visitor's picture lies in a served folder.
"""

import base64
import hashlib
import math
import re
from functools import cache
from pathlib import Path

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from vitdemo.core.names import shown_name
from vitdemo.core.photos.encode import encode

STATIC = Path(__file__).resolve().parent / "static"

IMPORT = re.compile(r'import \{ [\w$]+(?:, [\w$]+)* \} from "(\.[\w./-]+\.js)";')
DECLARATION = re.compile(r"(?:export )?((?:const|let|class|(?:async )?function) ([\w$]+)\b.*)")
NOT_UNDERSTOOD = re.compile(r"\s*(?:import|export)\b|.*\bimport\s*[(.]")


def html(template: str, **values) -> str:
    """Render static/<template>.html with these values."""
    return _environment().get_template(f"{template}.html").render(**values)


def static_text(*names: str) -> str:
    """Concatenate text files of static/, such as `static_text("photo_map/map.css")`."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)


def script(name: str) -> str:
    """The script of a component that loads static/<name>.js, an ES module, and mounts it there.

    The module's default export is called with {element, props, trigger, watch}, as Gradio gives them to a component's script. Until then
    nothing in the component can be pressed, so that no click is lost.
    """
    return (
        "element.inert = true;"
        f'import(new URL("page/static/{scripts_version()}/{name}.js", document.baseURI))'
        ".then((module) => { module.default({ element, props, trigger, watch }); element.inert = false; })"
        '.catch((error) => { console.error(error); element.before("This part of the page did not load: reload the page."); })'
    )


def bundled(name: str) -> str:
    """static/<name>.js with all that it imports, as one script for a page that can fetch nothing.

    Each module comes once, after those that it imports. Only the forms that our modules use are understood: `export` before a
    declaration, and `import { name, … } from "./file.js";` on a line of its own.

    Raises: ValueError for another form, for modules that import each other, and for a name that two modules declare: they would be one.
    """
    texts: dict[Path, str] = {}
    declared: dict[str, Path] = {}
    _bundle((STATIC / f"{name}.js").resolve(), texts, declared, ())
    return "\n".join(texts.values())


def _bundle(path: Path, texts: dict[Path, str], declared: dict[str, Path], importers: tuple[Path, ...]) -> None:
    if path in importers:
        raise ValueError(f"{path.name} imports itself, by way of other modules")
    if path in texts:
        return
    lines = []
    for line in path.read_text("utf-8").splitlines():
        if found := IMPORT.fullmatch(line):
            _bundle((path.parent / found[1]).resolve(), texts, declared, (*importers, path))
            continue
        if found := DECLARATION.fullmatch(line):
            line = found[1]
            if found[2] in declared:
                raise ValueError(f"{path.name} and {declared[found[2]].name} both declare {found[2]}")
            declared[found[2]] = path
        if NOT_UNDERSTOOD.match(line):
            raise ValueError(f"{path.name}: a bundle can't have “{line.strip()}”")
        lines.append(line)
    texts[path] = "\n".join(lines) + "\n"


def preloads(prefix: str) -> str:
    """Links for the page's <head> by which a browser fetches all modules at once, not one after the other as they import each other.

    Args:
        prefix: the path under which the app is served, such as “/vitdemo”; empty for none.
    """
    names = (path.relative_to(STATIC).as_posix() for path in sorted(STATIC.rglob("*.js")))
    modules = (name for name in names if "export" in (STATIC / name).read_text("utf-8"))  # the others are Gradio's own events' functions
    return "".join(f'<link rel="modulepreload" href="{prefix}/page/static/{scripts_version()}/{name}">' for name in modules)


@cache
def scripts_version() -> str:
    """A version of all modules and pictures in static/, which changes with any of them."""
    digest = hashlib.sha256()
    for path in sorted([*STATIC.rglob("*.js"), *STATIC.rglob("*.webp")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def panel(value: str = "", elem_id: str | None = None) -> gr.HTML:
    """A component for our own HTML, without Gradio's typography."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=None)


def data_uri(image: Image.Image, kind: str) -> str:
    """Encode an image as a data: URI; `kind` is JPEG, PNG or WEBP."""
    data = encode(image, kind, **({} if kind == "PNG" else {"quality": 88}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def log_share(share: float) -> float:
    """Where a probability lies on a logarithmic scale from 0.01 % to 100 %, 0 … 1."""
    return max(0.0, 1 + math.log10(max(share, 1e-9)) / 4)


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["shown"] = shown_name
    made.globals |= {"log_share": log_share, "version": scripts_version}
    return made
