"""The page on the network: launched closed to everything this app does not use, and brought to rest when it is told to stop."""

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from vitdemo.core import scratch
from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.ui import connections, gate, served, sessions
from vitdemo.ui.headers import SecurityHeaders, keep_other_sites_out
from vitdemo.ui.log import Logged, take_over, use_json
from vitdemo.ui.monitor import Counted, Monitor
from vitdemo.ui.page import UNDER_WAY, build
from vitdemo.ui.render import WEB
from vitdemo.ui.theme import THEME
from vitdemo.ui.uploads import Uploads
from vitdemo.ui.visitors import Visitors

log = logging.getLogger(__name__)
STYLES = ("style", "giving", "gallery", "attention", "map", "embeddings", "finetune", "export")
LAST_WORDS = 3.0  # seconds for work that was stopped to say so, and for answers to be fetched
CLOSING = 1  # seconds for connections to end


def serve(settings: Settings) -> None:
    """Serve the page until interrupted, or until SIGTERM and what was under way has ended. The operator's model starts loading once
    the page is up.

    Raises: UserError where the address can't be listened on.
    """
    if settings.log_json:
        use_json()
    with scratch.made(settings) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # before the components are made, which note it down
        told, leaving = threading.Event(), threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        monitor = Monitor(leaving) if settings.monitor else None
        store = ModelStore(settings, monitor and monitor.work)
        visitors = Visitors(store)
        page = build(settings, store, visitors)
        try:
            _, address, _ = launch(page, store, leaving, monitor)
        except OSError:
            raise UserError(f"The app can't listen on {settings.host}:{settings.port}: choose another --port, or check --host.") from None
        try:
            print(f"vitdemo is open at {address}", flush=True)
            if others := own_addresses(settings.host):
                port = urlsplit(address).port
                print("Other machines reach it at", *(f"http://{each}:{port}/" for each in others), flush=True)
            log.info("open", extra={"address": address})
            if settings.log_json:
                take_over("uvicorn", "uvicorn.error", "uvicorn.access")
            if not settings.auth and not _is_local(settings.host):
                print(
                    f"vitdemo: everyone who reaches {settings.host} can use it: --auth USER:PASSWORD asks for a login",
                    file=sys.stderr,
                    flush=True,
                )
            threading.Thread(target=_tell, args=(store,), name="tell", daemon=True).start()
            visitors.keep_sweeping()
            told.wait()
            leaving.set()
            log.info("leaving")
            _drain(page, visitors, settings.drain_seconds)
        finally:
            visitors.close()
            page.server.config.timeout_graceful_shutdown = CLOSING
            connections.hang_up(page.server)
            page.close(verbose=False)


def launch(page: gr.Blocks, store: ModelStore, leaving: threading.Event, monitor: Monitor | None = None) -> tuple:
    """Start the server in the background. Returns what gr.Blocks.launch does.

    Args:
        leaving: set once the app begins nothing new.
    """
    settings = store.settings
    routes = [Uploads(settings).route, *(monitor.routes(page, store) if monitor else [])]
    middleware = [
        Middleware(SecurityHeaders),
        *([Middleware(Counted, monitor=monitor)] if monitor else []),
        *([Middleware(Logged)] if settings.log_json else []),
        Middleware(gate.Gate, settings=settings, leaving=leaving, open_to_all=[each.path for each in routes[1:]]),
    ]
    launched = page.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,
        root_path=settings.root_path or None,
        max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        theme=THEME,
        css_paths=[WEB / f"{name}.css" for name in STYLES],
        js=(WEB / "load.js").read_text("utf-8"),
        app_kwargs={"routes": routes, "middleware": middleware, "exception_handlers": gate.HANDLERS},
        favicon_path=ASSETS / "icon.svg",
        allowed_paths=[str(ASSETS)],
        blocked_paths=[os.path.join(get_upload_folder(), each) for each in (scratch.LOCK, *served.HIDDEN)],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        share=False,
        ssr_mode=False,
        show_error=False,
        state_session_capacity=1000,
        max_threads=UNDER_WAY * settings.max_queue,  # Gradio's 40 would all be taken by who waits for galleries
        quiet=True,
        prevent_thread_lock=True,
    )
    connections.install(page.server)
    keep_other_sites_out(page.app)
    sessions.install(page)
    return launched


def own_addresses(host: str) -> list[str]:
    """Where other machines find this one, if all its addresses are listened on. Nothing is sent to learn it."""
    try:
        given = ipaddress.ip_address(host)
    except ValueError:
        return []
    if not given.is_unspecified:
        return []
    family, somewhere = (socket.AF_INET, "192.0.2.1") if given.version == 4 else (socket.AF_INET6, "2001:db8::1")
    found = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((somewhere, 9))  # chooses the way out, and sends nothing
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [each[4][0] for each in socket.getaddrinfo(socket.gethostname(), None, family)]
    known = [ipaddress.ip_address(each) for each in dict.fromkeys(found) if "%" not in each]
    return [str(each) if given.version == 4 else f"[{each}]" for each in known if not each.is_loopback and not each.is_link_local]


def _drain(page: gr.Blocks, visitors: Visitors, seconds: float) -> None:
    """Wait for what is under way; what takes longer is stopped, and its visitors told. Answers nobody fetches are not waited for."""
    queue = page._queue
    until = time.monotonic() + seconds
    while (len(queue) or any(queue.active_jobs) or visitors.busy) and time.monotonic() < until:
        time.sleep(0.05)
    visitors.stop()
    until = time.monotonic() + LAST_WORDS
    while (len(queue) or any(queue.active_jobs) or any(queue.pending_event_ids_session.values())) and time.monotonic() < until:
        time.sleep(0.05)


def _tell(store: ModelStore) -> None:
    """Load the operator's model and say in the terminal what came of it. The page is open meanwhile, and stays so without a model."""
    try:
        vit = store.get().result()
        print(f"{vit.name} is ready on {vit.device}, weights from {vit.source}", flush=True)
        log.info("model ready", extra={"model": vit.name, "device": str(vit.device)})
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr, flush=True)


def _is_local(host: str) -> bool:
    """Whether an address leads to this machine alone. A name that can't be looked up does not say so."""
    try:
        return all(ipaddress.ip_address(each[4][0]).is_loopback for each in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False
