"""Speaking to an app as a page, a program or nobody honest does, and what no answer may hold."""

import http.client
import json
import re
import socket
import urllib.parse
import urllib.request

from starlette.testclient import TestClient

UPLOAD = "/gradio_api/upload"
EDGE = "vitdemo"
LEAKS = re.compile(r"Traceback|File \"|site-packages|/tmp/|/etc/|\.py\b|object at 0x|<class '|line \d+, in|Error:|Exception")
SECRET = "the secret of the canary"


def ask(server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict]:
    """Status, body and headers of an answer; the body of an endless one is left.

    Args:
        server: a running app, or a TestClient of one in this process.
    """
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if hasattr(server, "running"):
        host = headers.pop("X-Forwarded-For", None)  # uvicorn, which reads it, is not between
        if host:
            server = TestClient(server.app, raise_server_exceptions=False, follow_redirects=False, client=(host, 5000))
        answer = server.request(method, path, content=body, headers=headers)
        return answer.status_code, answer.content, dict(answer.headers)
    where = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    stream = answer.getheader("content-type", "").startswith("text/event-stream")
    found = answer.status, b"" if stream else answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def form(*files: tuple[str, bytes], field: bytes = b"") -> bytes:
    head = f'--{EDGE}\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n'
    parts = [(head % name).encode() + data + b"\r\n" for name, data in files]
    if field:
        parts.append(f'--{EDGE}\r\nContent-Disposition: form-data; name="note"\r\n\r\n'.encode() + field + b"\r\n")
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


def upload(server, *files: tuple[str, bytes], host: str = "10.0.0.9", **more) -> tuple[int, str]:
    headers = {"Content_Type": f"multipart/form-data; boundary={EDGE}", "X_Forwarded_For": host}
    status, body, _ = ask(server, "POST", UPLOAD, form(*files, **more), **headers)
    return status, body.decode()


def half_sent(server, path: str, body: bytes, length: int, kind: str = "application/json") -> socket.socket:
    """A connection on which less of a request has come than it says."""
    where = urllib.parse.urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode() + body)
    return connection


class Visitor:
    """Speaks to a running app as a page does, with whatever one likes in place of what a page would send."""

    def __init__(self, server):
        self.where = urllib.parse.urlsplit(server.url)
        with urllib.request.urlopen(f"{server.url}/config", timeout=60) as answer:
            self.config = json.load(answer)
        self.names = [each["api_name"] for each in self.config["dependencies"] if each.get("api_visibility") == "public"]
        self.session = "fuzz"

    def send(self, method: str, path: str, body=None, kind: str = "application/json", **more: str) -> tuple[int, str]:
        """Status and text of an answer; of a stream, what it says until it ends."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": kind} if data is not None else {}
        connection = http.client.HTTPConnection(self.where.hostname, self.where.port, timeout=120)
        try:
            connection.request(method, path, data, headers | more)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def upload(self, name: str, data: bytes) -> str:
        status, text = self.send("POST", "/gradio_api/upload", form((name, data)), f"multipart/form-data; boundary={EDGE}")
        assert status == 200, text
        return json.loads(text)[0]

    def call(self, name: str, data: list) -> str:
        """Everything a named endpoint says."""
        status, text = self.send("POST", f"/gradio_api/call/{name}", {"data": data})
        if status != 200:
            return text
        return self.send("GET", f"/gradio_api/call/{name}/{json.loads(text)['event_id']}")[1]

    def ask(self, route: str, **asked) -> dict:
        """The answer of one of the page's own routes, such as `classify/poll`."""
        return json.loads(self.send("POST", f"/page/{route}", asked, **{"x-vitdemo-visitor": self.session})[1])

    def join(self, number: int, data: list, event) -> str:
        """Everything one of the page's own events says."""
        body = {"fn_index": number, "data": data, "event_data": event, "session_hash": self.session, "trigger_id": None}
        status, text = self.send("POST", "/gradio_api/queue/join", body)
        where = urllib.parse.quote(self.session)
        return text if status != 200 else self.send("GET", f"/gradio_api/queue/data?session_hash={where}")[1]


def things_of(visitor, picture) -> dict[str, str]:
    """What a page of this visitor has, by tab: a gallery, another with a map, photos to learn from, a photo whose attention is shown."""
    found = {name: visitor.ask(f"{name}/start", files="drawings")["gallery"] for name in ("classify", "embeddings")}
    found["finetune"] = visitor.ask("finetune/give", files="examples")["session"]
    parts = {each["props"].get("elem_id"): each["id"] for each in visitor.config["components"]}
    events = [each for each in visitor.config["dependencies"] if each["api_visibility"] != "public"]
    look = next(each for each in events if each["outputs"][1:] == [parts["attention"]] and [parts["photo"], "change"] in each["targets"])
    photo = {"path": visitor.upload("picture.png", picture.read_bytes()), "meta": {"_type": "gradio.FileData"}}
    values = {each["id"]: each["props"].get("value") for each in visitor.config["components"]}
    recipe = [values[each] for each in look["inputs"][3:]]
    said = visitor.join(look["id"], [photo, "", "attention", *recipe], None)
    found["attention"] = re.search(r'"session":"([^"]+)"', said)[1]
    return found


def answer_of(routes, name: str, caller=None, **asked) -> dict:
    """What one of a tab's routes answers, as the page reads it."""
    from vitdemo.ui.server.page_routes import Caller, respond_to

    return json.loads(respond_to(routes.handlers()[name], json.dumps(asked).encode(), caller or Caller())[1])


def check(text: str, given: list[str] = ()) -> None:
    """No trace, no path but those that were given, nothing from elsewhere."""
    assert SECRET not in text
    assert "root:" not in text
    shown = re.sub(r'"(path|url|rows|thumbnails|photo|crop|maps)": ?"[^"]*"', "", text)  # where the page finds its own files
    for each in given:
        shown = shown.replace(each, "").replace(json.dumps(each)[1:-1], "")
    assert not (leak := LEAKS.search(shown)), shown[max(0, leak.start() - 200) : leak.end() + 200]


def still_right(visitor, picture) -> bool:
    """Whether the app answers an ordinary question as before."""
    path = visitor.upload("picture.png", picture.read_bytes())
    said = visitor.call("classify", [{"path": path, "meta": {"_type": "gradio.FileData"}}, "", 3, None])
    return "event: complete" in said and said.count('"probability"') == 3


def lying_about(server) -> list:
    """Files in the app's folder that are in no folder of their own."""
    (folder,) = server.home.iterdir()
    return [each.name for each in folder.iterdir() if each.is_file() and each.name != ".in-use"]


def routes_of_the_page() -> list[str]:
    """The paths of the page's own routes."""
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.ui import page
    from vitdemo.ui.visitors import Visitors

    return [route.path for route in page.routes(Visitors(ModelStore(Settings()))).routes if "POST" in route.methods]


def routes_of_gradio() -> list[tuple[str, str]]:
    """Every route that Gradio brings, as (method, path)."""
    from gradio.routes import App

    from vitdemo.core.config import Settings
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.ui import page

    app = App.create_app(page.build(Settings(), ModelStore(Settings())))
    routers = [app, *(each.original_router for each in app.routes if hasattr(each, "original_router"))]
    routes = [route for router in routers for route in router.routes if hasattr(route, "path")]
    return sorted({(method, re.sub(r"\{[^}]*\}", "x", route.path)) for route in routes for method in getattr(route, "methods", None) or ()})


def post(server, path: str = "/gradio_api/call/classify", **headers: str) -> int:
    return ask(server, "POST", path, b'{"data": []}', Content_Type="application/json", **headers)[0]
