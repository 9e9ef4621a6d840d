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
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs import scratch
from vitdemo.ui.page import GRADIO_QUEUE_FACTOR, build
from vitdemo.ui.server import connections, gatekeeper, gradio_sessions, served_files
from vitdemo.ui.server.json_log import RequestLog, take_over, use_json
from vitdemo.ui.server.metrics import Metrics, RequestCounter
from vitdemo.ui.server.security_headers import SecurityHeaders, keep_other_sites_out
from vitdemo.ui.server.upload_route import Uploads
from vitdemo.ui.templating import STATIC, static_text
from vitdemo.ui.theme import THEME
from vitdemo.ui.visitors import Visitors

log = logging.getLogger(__name__)
STYLES = (
    "page/style",
    "components/gallery_upload",
    "classify/gallery",
    "attention/attention",
    "photo_map/map",
    "embeddings/embeddings",
    "finetune/finetune",
    "export/export",
)
FAREWELL_SECONDS = 3.0  # seconds for work that was stopped to say so, and for answers to be fetched
CLOSE_SECONDS = 1  # seconds for connections to end


@dataclass(frozen=True)
class RunningApp:
    """The app on the network, and what it is made of."""

    page: gr.Blocks
    store: ModelStore
    visitors: Visitors
    address: str


@contextlib.contextmanager
def running(settings: Settings, leaving: threading.Event) -> Iterator[RunningApp]:
    """The app, served in the background as long as this context lasts. Its private folder goes at the end.

    Args:
        leaving: set it once the app is to begin nothing new.

    Raises: UserError where the address can't be listened on.
    """
    with scratch.scratch_folder(settings) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # before the components are made, which note it down
        metrics = Metrics(leaving) if settings.monitor else None
        store = ModelStore(settings, metrics and metrics.work)
        visitors = Visitors(store)
        page = build(settings, store, visitors)
        try:
            _, address, _ = launch(page, store, leaving, metrics)
        except OSError:
            raise UserError(f"The app can't listen on {settings.host}:{settings.port}: choose another --port, or check --host.") from None
        try:
            yield RunningApp(page, store, visitors, address)
        finally:
            visitors.close()
            page.server.config.timeout_graceful_shutdown = CLOSE_SECONDS
            connections.hang_up(page.server)
            page.close(verbose=False)


def serve(settings: Settings) -> None:
    """Serve the page until interrupted, or until SIGTERM and what was under way has ended. The operator's model starts loading once
    the page is up.

    Raises: UserError where the address can't be listened on.
    """
    if settings.log_json:
        use_json()
    terminated, leaving = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    with running(settings, leaving) as app:
        _announce(app.address, settings)
        threading.Thread(target=_report_model, args=(app.store,), name="report model", daemon=True).start()
        app.visitors.keep_sweeping()
        terminated.wait()
        leaving.set()
        log.info("leaving")
        _drain(app.page, app.visitors, settings.drain_seconds)


def _announce(address: str, settings: Settings) -> None:
    """Say on the terminal where the app is open, and to whom."""
    print(f"vitdemo is open at {address}", flush=True)
    if others := own_addresses(settings.host):
        port = urlsplit(address).port
        print("Other machines reach it at", *(f"http://{each}:{port}/" for each in others), flush=True)
    log.info("open", extra={"address": address})
    if settings.log_json:
        take_over("uvicorn", "uvicorn.error", "uvicorn.access")
    if not settings.auth and not _is_local(settings.host):
        warning = f"vitdemo: everyone who reaches {settings.host} can use it: --auth USER:PASSWORD asks for a login"
        print(warning, file=sys.stderr, flush=True)


def launch(page: gr.Blocks, store: ModelStore, leaving: threading.Event, metrics: Metrics | None = None) -> tuple:
    """Start the server in the background. Returns what gr.Blocks.launch does.

    Args:
        leaving: set once the app begins nothing new.
    """
    settings = store.settings
    routes = [Uploads(settings).route, *(metrics.routes(page, store) if metrics else [])]
    middleware = [
        Middleware(SecurityHeaders),
        *([Middleware(RequestCounter, metrics=metrics)] if metrics else []),
        *([Middleware(RequestLog)] if settings.log_json else []),
        Middleware(gatekeeper.Gatekeeper, settings=settings, leaving=leaving, open_to_all=[each.path for each in routes[1:]]),
    ]
    launched = page.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,
        root_path=settings.root_path or None,
        max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        theme=THEME,
        css_paths=[STATIC / f"{name}.css" for name in STYLES],
        js=static_text("page/load.js"),
        app_kwargs={"routes": routes, "middleware": middleware, "exception_handlers": gatekeeper.HANDLERS},
        favicon_path=ASSETS / "icon.svg",
        allowed_paths=[str(ASSETS)],
        blocked_paths=[os.path.join(get_upload_folder(), each) for each in (scratch.LOCK_FILE, *served_files.HIDDEN_FOLDERS)],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        share=False,
        ssr_mode=False,
        show_error=False,
        state_session_capacity=1000,
        max_threads=GRADIO_QUEUE_FACTOR * settings.max_queue,  # Gradio's 40 would all be taken by who waits for galleries
        quiet=True,
        prevent_thread_lock=True,
    )
    connections.install(page.server)
    keep_other_sites_out(page.app)
    gradio_sessions.install(page)
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
    until = time.monotonic() + FAREWELL_SECONDS
    while (len(queue) or any(queue.active_jobs) or any(queue.pending_event_ids_session.values())) and time.monotonic() < until:
        time.sleep(0.05)


def _report_model(store: ModelStore) -> None:
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
