"""Render HTML from the templates in static/, with every value escaped.

Pictures become data URIs, so that no visitor's picture lies in a served folder.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from vitdemo.core.photos.encode import encode

STATIC = Path(__file__).parent / "static"


def html(template: str, **values) -> str:
    """Render static/<template>.html with these values."""
    return _environment().get_template(f"{template}.html").render(**values)


def static_text(*names: str) -> str:
    """Concatenate text files of static/, such as `static_text("components/upload.js")`."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in names)


def script(name: str) -> str:
    """The script of a component that loads static/<name>.js, an ES module, and mounts it there.

    The module's default export is called with {element, props, trigger, watch}, as Gradio gives them to a component's script. Until then
    nothing in the component can be pressed, so that no click is lost.
    """
    return (
        "element.inert = true;"
        f'import(`${{window.gradio_config?.root || ""}}/page/static/{scripts_version()}/{name}.js`)'
        ".then((module) => { module.default({ element, props, trigger, watch }); element.inert = false; })"
        '.catch((error) => { console.error(error); element.prepend("This part of the page did not load: reload the page."); })'
    )


@cache
def scripts_version() -> str:
    """A version of all modules in static/, which changes with any of them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.js")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def panel(value: str = "", elem_id: str | None = None) -> gr.HTML:
    """A component for our own HTML, without Gradio's typography."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=None)


def data_uri(image: Image.Image, kind: str) -> str:
    """Encode an image as a data: URI; `kind` is JPEG or PNG."""
    data = encode(image, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def percent(share: float) -> str:
    """Format a probability for people: one decimal, and never rounded to zero or to certainty."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
