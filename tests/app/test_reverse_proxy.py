"""The app behind a real nginx with TLS, as docs/deploying.md has it: under a path that nginx strips or leaves, and by its whole address."""

import os
import re
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import browser  # noqa: F401 (a fixture)
from tests.support.apps import ROOT, Server, ask_by_client, free_port
from tests.support.pictures import noise
from tests.support.waiting import until

pytestmark = pytest.mark.app

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""
ENDED = "net::ERR_ABORTED"  # of a stream that the page has read to its end
CLASSIFY = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
print(json.dumps(client.predict(handle_file(sys.argv[2]), "", 3, api_name="/classify")["predictions"]))
"""


@dataclass
class Proxied:
    """The app as nginx serves it: its address without the last slash, and a client that trusts nginx's certificate."""

    url: str
    client: httpx.Client
    certificate: Path


def example() -> str:
    """The server in docs/deploying.md."""
    return re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "deploying.md").read_text("utf-8"), re.DOTALL)[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate for localhost, and its key beside it as key.pem."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def behind_nginx(certificate, tmp_path_factory) -> Iterator[Callable[..., Proxied]]:
    """behind_nginx(server, port, changes) serves a running app at localhost by the server of the docs, after some changes to its text."""
    if not NGINX:
        pytest.skip("no nginx found: install it (Debian: apt-get install nginx)")
    started: list[subprocess.Popen] = []

    def serve(server: Server, port: int, changes: dict[str, str]) -> Proxied:
        folder, text = tmp_path_factory.mktemp("nginx"), example()
        ours = {
            "listen 443": f"listen 127.0.0.1:{port}",
            "demo.example.org": "localhost",
            "/etc/ssl/demo.pem": str(certificate),
            "/etc/ssl/demo.key": str(certificate.with_name("key.pem")),
            "http://127.0.0.1:7860": server.url,
        }
        for before, after in (ours | changes).items():
            assert before in text
            text = text.replace(before, after)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, server=text))
        process = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], stderr=subprocess.PIPE)
        started.append(process)
        until(lambda: (folder / "nginx.pid").exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr.read().decode()
        context = ssl.create_default_context(cafile=certificate)
        return Proxied(f"https://localhost:{port}/vitdemo", httpx.Client(verify=context, timeout=60), certificate)

    yield serve
    for process in started:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def by_path(start_app, bundle) -> Server:
    return start_app("--model", f"local-dir:{bundle}", "--root-path", "vitdemo")


@pytest.fixture(scope="module")
def stripped(behind_nginx, by_path) -> Proxied:
    """The docs' server as it is: nginx strips the path."""
    return behind_nginx(by_path, free_port(), {})


@pytest.fixture(scope="module")
def whole(behind_nginx, by_path) -> Proxied:
    """The docs' server without the slash: nginx leaves the path whole. It doesn't name its protocol."""
    changes = {f"{by_path.url}/;": f"{by_path.url};", "proxy_set_header X-Forwarded-Proto $scheme;": ""}
    return behind_nginx(by_path, free_port(), changes)


@pytest.fixture(scope="module")
def by_address(behind_nginx, start_app, bundle) -> Proxied:
    """The app knows its whole address, and nginx passes on no Host and leaves the path whole."""
    port = free_port()
    server = start_app("--model", f"local-dir:{bundle}", VITDEMO_ROOT_PATH=f"https://localhost:{port}/vitdemo/")
    return behind_nginx(server, port, {f"{server.url}/;": f"{server.url};", "proxy_set_header Host $http_host;": ""})


@pytest.fixture(params=["stripped", "whole", "by_address"])
def proxied(request) -> Proxied:
    return request.getfixturevalue(request.param)


def test_the_page_loads_all_it_asks_for_and_classifies(proxied, browser, picture):  # noqa: F811
    context = browser.new_context(ignore_https_errors=True)
    page, answers, faults = context.new_page(), [], []
    page.on("response", lambda answer: answers.append((answer.status, answer.url)))
    page.on("requestfailed", lambda request: None if request.failure == ENDED else faults.append(f"{request.url} {request.failure}"))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{proxied.url}/?photo=none")
    page.locator("#photo input[type=file]").wait_for(state="attached")
    page.set_input_files("#photo input[type=file]", picture)
    expect(page.locator("#answer .predictions li:not([hidden])")).to_have_count(5, timeout=60_000)
    page.get_by_role("tab", name="Attention").click()
    expect(page.locator("#attention .att-heat")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Classify").click()
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#gallery .files", [picture, picture])
    expect(page.locator("#gallery .run-text")).to_contain_text("2 of 2 photos", timeout=60_000)
    context.close()
    assert faults == []
    scripts = [url for _, url in answers if "/vitdemo/page/static/" in url]
    assert len(scripts) > 40
    assert [url for _, url in answers if url != proxied.url and not url.startswith((f"{proxied.url}/", "data:", "blob:"))] == []
    assert [(status, url) for status, url in answers if status >= 400] == []


def test_programs_classify(proxied, picture, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.certificate))
    predictions = ask_by_client(CLASSIFY, Server(f"{proxied.url}/", None, None), str(picture))
    assert len(predictions) == 3
    assert 1 > predictions[0]["probability"] >= predictions[1]["probability"] >= predictions[2]["probability"] > 0


def test_an_upload_over_nginx_own_limit_comes_back_and_is_classified_by_the_pages_routes(proxied, tmp_path):
    noise(1200, 900).save(tmp_path / "ein Höhlenbär #1.png")
    data = (tmp_path / "ein Höhlenbär #1.png").read_bytes()
    assert len(data) > 2**20
    origin = {"Origin": proxied.url.removesuffix("/vitdemo")}
    sent = proxied.client.post(f"{proxied.url}/gradio_api/upload", files={"files": ("ein Höhlenbär #1.png", data)}, headers=origin)
    assert sent.status_code == 200, sent.text
    (path,) = sent.json()
    back = proxied.client.get(f"{proxied.url}/gradio_api/file={urllib.request.quote(path)}")
    assert (back.status_code, back.content) == (200, data)

    def ask(route: str, **asked) -> dict:
        answer = proxied.client.post(f"{proxied.url}/page/{route}", json=asked, headers=origin)
        assert answer.status_code == 200, answer.text
        return answer.json()

    gallery = ask("classify/start", files=[["ein Höhlenbär #1.png", path]])["gallery"]
    until(lambda: ask("classify/poll", gallery=gallery)["state"] == "done")


def test_events_come_at_once_through_nginx_buffers(proxied):
    with proxied.client.stream("GET", f"{proxied.url}/gradio_api/heartbeat/nobody", timeout=10) as answer:
        assert next(answer.iter_text()) == "data: ALIVE\n\n"  # the next one comes after 15 seconds


def test_other_sites_are_refused_and_the_bare_path_leads_to_the_page(proxied):
    address = f"{proxied.url}/gradio_api/call/classify"
    assert proxied.client.post(address, json={"data": []}, headers={"Origin": "https://evil.example"}).status_code == 403
    bare = proxied.client.get(f"{proxied.url}?__theme=dark", follow_redirects=True)
    assert (bare.status_code, bare.url) == (200, f"{proxied.url}/?__theme=dark")
    assert proxied.client.get(f"{proxied.url}/nothing").status_code == 404
