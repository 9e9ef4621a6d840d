"""Serve the page: launch it without the Gradio features that this app does not use, and shut it down in order."""

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
from typing import cast
from urllib.parse import urlsplit

import gradio as gr
from starlette.middleware import Middleware

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs import scratch
from vitdemo.ui.errors import user_message
from vitdemo.ui.page import GRADIO_QUEUE_FACTOR, build, routes
from vitdemo.ui.server import connections, gatekeeper, gradio_sessions, served_files
from vitdemo.ui.server.gradio_internals import (
    NO_SELF_CHECK,
    get_upload_folder,
    hang_up,
    has_unfetched_answers,
    is_at_work,
    keep_other_sites_out,
    server_of,
)
from vitdemo.ui.server.json_log import log_request, take_over, use_json
from vitdemo.ui.server.metrics import Metrics
from vitdemo.ui.server.page_routes import PageRoutes
from vitdemo.ui.server.request_observer import RequestObserver
from vitdemo.ui.server.response_headers import ResponseHeaders
from vitdemo.ui.server.upload_route import PROGRESS, Uploads
from vitdemo.ui.templating import STATIC, preloads, static_text
from vitdemo.ui.theme import THEME
from vitdemo.ui.visitors import Visitors

log = logging.getLogger(__name__)
STYLES = (
    "page/style",
    "page/tour/tour",
    "components/gallery_upload",
    "classify/gallery",
    "attention/attention",
    "photo_map/map",
    "embeddings/embeddings",
    "finetune/finetune",
    "export/export",
)
FAREWELL_SECONDS = 3.0  # for stopped work to report its end, and for clients to fetch their answers
SIGNAL_SECONDS = 1.0  # between two looks for a signal
CLOSE_SECONDS = 1  # for connections to end


@dataclass(frozen=True)
class RunningApp:
    """The served app.

    Attributes:
        page: the Gradio page.
        store: the loaded models.
        visitors: all state that is kept for visitors.
        address: the URL of the page.
    """

    page: gr.Blocks
    store: ModelStore
    visitors: Visitors
    address: str


@contextlib.contextmanager
def running(settings: Settings, leaving: threading.Event) -> Iterator[RunningApp]:
    """Serve the app in the background as long as this context lasts. The app's private folder is removed at the end.

    Args:
        leaving: set by the caller when the app must start no new work.

    Raises: UserError where the app can't listen on the address.
    """
    with scratch.scratch_folder(settings) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # before the components are made: they read it then
        metrics = Metrics(leaving) if settings.monitor else None
        store = ModelStore(settings, metrics.work if metrics else None)
        visitors = Visitors(store)
        page = build(settings, store, visitors)
        try:
            _, address, _ = launch(page, store, leaving, routes(visitors), metrics)
        except OSError:
            raise UserError(f"The app can't listen on {settings.host}:{settings.port}: choose another --port, or check --host.") from None
        try:
            yield RunningApp(page, store, visitors, address)
        finally:
            visitors.close()
            hang_up(server_of(page), CLOSE_SECONDS)
            page.close(verbose=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def serve(settings: Settings) -> None:
    """Serve the page until an interrupt, or until SIGTERM and the end of the work under way. The operator's model starts loading once
    the page is up.

    Raises: UserError where the app can't listen on the address.
    """
    if settings.log_json:
        use_json()
    terminated, leaving = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    with running(settings, leaving) as app:
        _announce(app.address, settings)
        threading.Thread(target=_report_model, args=(app,), name="report model", daemon=True).start()
        app.visitors.keep_sweeping()
        while not terminated.wait(SIGNAL_SECONDS):  # a signal that reaches another thread is heard by this one only when it wakes
            pass
        leaving.set()
        log.info("leaving")
        _drain(app.page, app.visitors, settings.drain_seconds)


def _announce(address: str, settings: Settings) -> None:
    """Print the app's address on the terminal, and the addresses at which other machines reach it."""
    print(f"vitdemo is open at {address}", flush=True)
    if others := own_addresses(settings.host):
        port = urlsplit(address).port
        print("Other machines reach it at", *(f"http://{other}:{port}/" for other in others), flush=True)
    log.info("open", extra={"address": address})
    if settings.log_json:
        take_over("uvicorn", "uvicorn.error", "uvicorn.access")
    if not settings.auth and not _is_local(settings.host):
        warning = f"vitdemo: everyone who reaches {settings.host} can use it: --auth USER:PASSWORD asks for a login"
        print(warning, file=sys.stderr, flush=True)


def launch(page: gr.Blocks, store: ModelStore, leaving: threading.Event, pages: PageRoutes, metrics: Metrics | None = None) -> tuple:
    """Start the server in the background.

    Args:
        leaving: set once the app starts no new work.
        pages: the routes of the page's scripts.

    Returns: what gr.Blocks.launch returns.
    """
    settings = store.settings
    monitoring = metrics.routes(page, store) if metrics else []
    own = [Uploads(settings).route, PROGRESS, *pages.routes, *monitoring]
    observers = [*([metrics.request] if metrics else []), *([log_request] if settings.log_json else [])]
    middleware = [
        Middleware(ResponseHeaders),
        Middleware(RequestObserver, observers=observers),
        Middleware(
            gatekeeper.Gatekeeper,
            settings=settings,
            leaving=leaving,
            starting=pages.starting,
            open_to_all=[route.path for route in monitoring],
        ),
    ]
    launched = page.launch(
        server_name=settings.host,
        server_port=settings.port or _free_port(),  # Gradio would take the next one after 7860, and so would an app that starts just now
        auth=cast("tuple[str, str]", tuple(settings.auth.split(":", 1))) if settings.auth else None,
        root_path=settings.root_path,
        max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        theme=THEME,
        css_paths=[STATIC / f"{name}.css" for name in STYLES],
        js=static_text("page/load.js"),
        app_kwargs={"routes": own, "middleware": middleware, "exception_handlers": gatekeeper.HANDLERS},
        head=preloads(settings.path_prefix),
        favicon_path=ASSETS / "icon.svg",
        allowed_paths=[str(ASSETS)],
        blocked_paths=[os.path.join(get_upload_folder(), hidden) for hidden in (scratch.LOCK_FILE, *served_files.HIDDEN_FOLDERS)],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        share=False,
        ssr_mode=False,
        show_error=False,
        state_session_capacity=1000,
        max_threads=GRADIO_QUEUE_FACTOR * settings.max_queue,  # requests that wait for galleries would take all of Gradio's 40
        quiet=True,
        prevent_thread_lock=True,
        **NO_SELF_CHECK,
    )
    connections.install(server_of(page))
    keep_other_sites_out(launched[0])
    gradio_sessions.install(page)
    return launched


def own_addresses(host: str) -> list[str]:
    """The addresses at which other machines reach this one, if the app listens on all of them; else none. No packet is sent."""
    try:
        listened = ipaddress.ip_address(host)
    except ValueError:
        return []
    if not listened.is_unspecified:
        return []
    family, test_address = (socket.AF_INET, "192.0.2.1") if listened.version == 4 else (socket.AF_INET6, "2001:db8::1")
    addresses = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((test_address, 9))  # picks the network interface; for UDP this sends nothing
        addresses.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        addresses += [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, family)]
    parsed = [ipaddress.ip_address(address) for address in dict.fromkeys(addresses) if "%" not in address]
    return [str(own) if listened.version == 4 else f"[{own}]" for own in parsed if not own.is_loopback and not own.is_link_local]


def _drain(page: gr.Blocks, visitors: Visitors, seconds: float) -> None:
    """Wait for the work under way, then stop the rest and inform its visitors.

    Answers that nobody fetches delay the end by FAREWELL_SECONDS at most.
    """
    deadline = time.monotonic() + seconds
    while (is_at_work(page) or visitors.busy) and time.monotonic() < deadline:
        time.sleep(0.05)
    visitors.stop()
    deadline = time.monotonic() + FAREWELL_SECONDS
    while (is_at_work(page) or has_unfetched_answers(page)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _report_model(app: RunningApp) -> None:
    """Load the operator's model, print the outcome on the terminal, and answer the sample on which the page opens, which also warms the
    model up. The page is open meanwhile, and stays open without a model.
    """
    try:
        loading = app.store.get()
        vit = loading.result()
        if loading.instead:
            print(f"vitdemo: {loading.instead} The demo model answers until it is: press Retry on the page.", file=sys.stderr, flush=True)
        try:
            app.visitors.photo_answers.first(vit)
        except Exception as error:
            user_message(error)  # writes the log entry: the page asks again
        print(f"{vit.name} is ready on {vit.device}{vit.reduced}, weights from {vit.source}", *vit.notes, sep="\n", flush=True)
        log.info("model ready", extra={"model": vit.id, "device": str(vit.device)})
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr, flush=True)


def _is_local(host: str) -> bool:
    """Whether an address reaches this machine only. False for a name that can't be looked up."""
    try:
        return all(ipaddress.ip_address(info[4][0]).is_loopback for info in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False
