"""What is asked of who has not logged in, and of pages of other sites."""

import json
import urllib.request

import pytest

from tests.support.apps import app_in_process
from tests.support.http import EDGE, UPLOAD, ask, form, post, routes_of_gradio, upload
from vitdemo.core.config import Settings


@pytest.fixture(scope="module")
def guarded(bundle, tmp_path_factory):
    """An app in this process that asks for a login."""
    settings = Settings(
        model=f"local-dir:{bundle}", port=0, auth="ada:love:lace", monitor=True, temp_dir=tmp_path_factory.mktemp("guarded")
    )
    with app_in_process(settings) as client:
        yield client


def test_nothing_is_served_before_login(guarded):
    routes = [*routes_of_gradio(), ("GET", "/gradio_api/file=assets/icon.svg"), ("POST", "/gradio_api/call/classify"), ("GET", "/health")]
    open_ = {path for method, path in routes if ask(guarded, method, path)[0] not in (401, 404, 405, 422)}
    look = {"/", "/favicon.ico", "/theme.css", "/manifest.json", "/robots.txt", "/logout", "/gradio_api/theme.css"}
    assert open_ - look <= {"/gradio_api/startup-events", "/health", "/static/x", "/assets/x"}
    page = ask(guarded, "GET", "/")[1].decode()
    assert '"auth_required":true' in page.replace(" ", "")
    assert '"components":[]' in page.replace(" ", "")
    assert upload(guarded, ("a.png", b"x"))[0] == 401


def test_after_login_all_is_there(guarded):
    wrong = ask(guarded, "POST", "/login", b"username=ada&password=no", Content_Type="application/x-www-form-urlencoded")
    assert (wrong[0], json.loads(wrong[1])["detail"]) == (400, "This is not the right name and password: try again.")
    login = urllib.request.Request(f"{guarded.url}/login", b"username=ada&password=love%3Alace")
    with urllib.request.urlopen(login, timeout=30) as answer:
        cookie = "; ".join(each.split(";")[0] for each in answer.headers.get_all("set-cookie"))
    assert ask(guarded, "GET", "/config", Cookie=cookie)[0] == 200
    status, body, _ = ask(
        guarded, "POST", UPLOAD, form(("a.png", b"x")), Content_Type=f"multipart/form-data; boundary={EDGE}", Cookie=cookie
    )
    assert (status, len(json.loads(body))) == (200, 1)
    assert ask(guarded, "GET", "/config", Cookie=cookie.replace("=", "=x"))[0] == 401


def test_a_login_that_is_far_too_large_is_refused(guarded):
    for kind in ("application/x-www-form-urlencoded", f"multipart/form-data; boundary={EDGE}"):
        assert ask(guarded, "POST", "/login", form(("a.png", bytes(70_000))), Content_Type=kind)[0] == 413


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://", "http://[", "https://demo.example.evil.example"])
def test_pages_of_other_sites_are_refused(app, guarded, origin):
    assert post(app, Host="demo.example", Origin=origin) == 403
    assert post(guarded, "/login", Host="demo.example", Origin=origin) == 403
    for method in ("GET", "OPTIONS", "POST"):
        asked = {"Host": "demo.example", "Origin": origin, "Access_Control_Request_Method": "POST"}
        headers = ask(app, method, "/config", **asked)[2]
        assert not any(name.lower().startswith("access-control") for name in headers)
