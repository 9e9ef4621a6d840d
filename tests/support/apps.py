"""Apps to test: in a process of their own as people start them, or in this one for what needs no second process."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import vitdemo
from tests.support.waiting import until
from vitdemo.core.config import Settings

ROOT = Path(vitdemo.__file__).parents[1]
TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@dataclass
class Server:
    """A running app: its address, its process and what it printed."""

    url: str
    process: subprocess.Popen
    log: Path

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def app_processes(tmp_path_factory, cache_dir: Path) -> Iterator[Callable[..., Server]]:
    """Starts apps by start("--model", …, HF_ENDPOINT=…), and stops them at its end."""
    started: list[subprocess.Popen] = []

    def start(*flags: str, **environ: str) -> Server:
        log = tmp_path_factory.mktemp("app") / "log.txt"
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", "0", *flags],
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1,localhost", "VITDEMO_CACHE_DIR": str(cache_dir)} | environ,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)

        def opened() -> list[str]:
            assert process.poll() is None, f"the app did not start:\n{log.read_text()}"
            return [line.rsplit(" ", 1)[1] for line in log.read_text().splitlines() if line.startswith("vitdemo is open at ")]

        until(opened, 120)
        server = Server(opened()[0].rstrip("/"), process, log)
        urllib.request.urlopen(server.url, timeout=60).close()
        return server

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            process.wait(60)


@contextmanager
def app_in_process(settings: Settings, leaving: threading.Event | None = None):
    """An app in this process. Gives Starlette's TestClient of it, with the RunningApp as `running` and its address as `url`.

    One at a time: Gradio's folder for uploads is this process's.
    """
    from starlette.testclient import TestClient

    from vitdemo.ui.serve import running

    before = os.environ.get("GRADIO_TEMP_DIR")
    try:
        with running(replace(settings, port=free_port()), leaving or threading.Event()) as app:
            client = TestClient(app.page.app, raise_server_exceptions=False, follow_redirects=False)
            client.running, client.url = app, app.address.rstrip("/")
            yield client
    finally:
        os.environ.pop("GRADIO_TEMP_DIR", None)
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def free_port() -> int:
    """A port of the system's choice: Gradio's own search from 7860 would meet that of the tier's other process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def ask_by_client(script: str, server: Server, *arguments: str):
    """Run a script that speaks to the server by gradio_client, in a process of its own. Returns the JSON it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", script, server.url, *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
