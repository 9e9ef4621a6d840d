"""An app below a path of a proxy, whether the proxy strips the path or not. tests/app/test_reverse_proxy.py has a real proxy."""

import json
import re

import pytest

from tests.support.apps import app_in_process
from tests.support.http import EDGE, UPLOAD, ask, form, post
from vitdemo.core.config import Settings

EMPTY = "There are no photos in what you gave: give photos, a folder or a zip that holds some."
FORM = f"multipart/form-data; boundary={EDGE}"


@pytest.fixture(scope="module", params=["vitdemo", "https://demo.example/vitdemo"])
def below(request, bundle, tmp_path_factory):
    """An app in this process, served below a path by a proxy, and its site as far as it knows it."""
    root_path = Settings.read(None, {"VITDEMO_ROOT_PATH": request.param}).root_path
    settings = Settings(model=f"local-dir:{bundle}", port=0, root_path=root_path, temp_dir=tmp_path_factory.mktemp("below"))
    with app_in_process(settings) as client:
        client.site = root_path.removesuffix("/vitdemo") or "http://testserver"
        yield client


@pytest.mark.parametrize("begin", ["", "/vitdemo"], ids=["stripped", "whole"])
def test_below_a_path_all_is_where_the_page_looks_for_it(below, begin):
    page = ask(below, "GET", f"{begin}/")[1].decode()
    config = json.loads(re.search(r"gradio_config = (.*?);</script>", page)[1])
    assert config["root"] == f"{below.site}/vitdemo"
    modules = re.findall(r'modulepreload" href="/vitdemo(/page/static/[^"]+)"', config["head"])
    assert len(modules) > 40
    for path in (modules[0], modules[-1], "/config", "/gradio_api/info", "/theme.css"):
        assert ask(below, "GET", begin + path)[0] == 200, path
    status, body, _ = ask(below, "POST", f"{begin}/page/classify/start", b'{"files": []}', Content_Type="application/json")
    assert (status, json.loads(body)["error"]) == (400, EMPTY)
    (path,) = json.loads(ask(below, "POST", begin + UPLOAD, form(("a.png", b"x")), Content_Type=FORM)[1])
    assert ask(below, "GET", f"{begin}/gradio_api/file={path}")[:2] == (200, b"x")
    assert post(below, f"{begin}/gradio_api/call/classify") == 200
    assert post(below, f"{begin}/gradio_api/call/classify", Origin="https://evil.example") == 403
    for path in ("/nothing", "/vitdemo/", "/vitdemo/config"):
        assert ask(below, "GET", f"/vitdemo{path}")[0] == 404
    assert ask(below, "GET", "/vitdemox/config")[0] == 404


def test_the_bare_path_leads_to_the_page(below):
    for query, place in (("", "/vitdemo/"), ("?__theme=dark", "/vitdemo/?__theme=dark")):
        answer = below.get(f"/vitdemo{query}")
        assert (answer.status_code, answer.headers["location"]) == (307, place)


def test_the_whole_address_is_ours_whatever_host_a_proxy_names(below):
    own = post(below, Host="127.0.0.1:7860", Origin="https://demo.example")
    assert own == (200 if below.site == "https://demo.example" else 403)
