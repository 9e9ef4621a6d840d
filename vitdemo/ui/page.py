"""The page: header and tabs, and how they are launched."""

import ipaddress
import os
import shutil
import socket
import sys
import tempfile

import gradio as gr
from starlette.middleware import Middleware

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Jobs
from vitdemo.core.store import ModelStore
from vitdemo.ui import (
    api,
    attention_api,
    attention_tab,
    classify_tab,
    embed_api,
    embeddings_tab,
    export_api,
    export_tab,
    finetune_api,
    finetune_tab,
    gallery_panel,
    model_header,
)
from vitdemo.ui.attention_scenes import Scenes
from vitdemo.ui.embedding_runs import EmbeddingRuns
from vitdemo.ui.export_runs import Exports
from vitdemo.ui.export_trial import Trial
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.gallery_runs import GalleryRuns
from vitdemo.ui.headers import SecurityHeaders
from vitdemo.ui.monitor import Counted, Monitor
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB
from vitdemo.ui.theme import THEME
from vitdemo.ui.turns import Turns


def build(settings: Settings, store: ModelStore) -> gr.Blocks:
    """The whole page, not yet served. Nothing that only a tab needs is imported or loaded here."""
    sweep = (600, 60 * settings.upload_minutes)  # seconds: how often, and how old
    with gr.Blocks(title="vitdemo", analytics_enabled=False, delete_cache=sweep) as page:
        header = model_header.build(store)
        turns, runs, scenes, embeddings, jobs = Turns(), GalleryRuns(store), Scenes(store), EmbeddingRuns(store), Jobs(settings)
        lessons, exports = Lessons(store, jobs), Exports(store, jobs)
        active = gr.Textbox(classify_tab.NAME, visible="hidden", label="open tab")
        with gr.Tabs():
            with gr.Tab("Classify", id=classify_tab.NAME) as tab, gr.Tabs():
                opened = Opened(active, tab)
                with gr.Tab("One photo", id="one"):
                    trial = Trial(exports)
                    current = classify_tab.build(page, store, header, turns, opened)
                    trial.follow(current, opened)
                with gr.Tab("Many photos", id="many"):
                    gallery_panel.build(store, header, runs)
            with gr.Tab("Attention", id=attention_tab.NAME) as tab:
                looking = attention_tab.build(header, current, Opened(active, tab), scenes)
            with gr.Tab("Embeddings", id=embeddings_tab.NAME) as tab:
                embeddings_tab.build(store, header, current, embeddings, lessons, Opened(active, tab))
            with gr.Tab("Fine-tune", id=finetune_tab.NAME):
                finetune_tab.build(store, header, lessons)
            with gr.Tab("Export", id=export_tab.NAME) as tab:
                export_tab.build(store, header, exports, trial, Opened(active, tab))
        api.build(store, runs)
        attention_api.build(scenes)
        embed_api.build(store, embeddings)
        finetune_api.build(lessons)
        export_api.build(exports)

        def leave(request: gr.Request) -> None:
            store.leave(request.session_hash or "")
            turns.leave(request.session_hash or "")
            trial.leave(request.session_hash or "")
            looking.leave(request.session_hash or "")
            scenes.leave(request.session_hash or "")
            embeddings.leave(request.session_hash or "")

        page.unload(leave)
    return page.queue(max_size=settings.max_queue, default_concurrency_limit=4)


def serve(settings: Settings) -> None:
    """Serve the page until interrupted. The operator's model starts loading once the page is up.

    Raises: UserError where the address can't be listened on.
    """
    uploads = _private_folder(settings)
    monitor = Monitor() if settings.monitor else None
    store = ModelStore(settings, monitor and monitor.work)
    try:
        page = build(settings, store)
        middleware = [Middleware(SecurityHeaders), *([Middleware(Counted, monitor=monitor)] if monitor else [])]
        try:
            _, address, _ = launch(page, settings, middleware=middleware, routes=monitor.routes(page, store) if monitor else [])
        except OSError:
            raise UserError(f"The app can't listen on {settings.host}:{settings.port}: choose another --port, or check --host.") from None
        print(f"vitdemo is open at {address}", flush=True)
        if not settings.auth and not _is_local(settings.host):
            print(
                f"vitdemo: everyone who reaches {settings.host} can use it: --auth USER:PASSWORD asks for a login",
                file=sys.stderr,
                flush=True,
            )
        _tell(store)
        page.block_thread()
    finally:
        if settings.temp_dir is None:
            shutil.rmtree(uploads, ignore_errors=True)


def launch(page: gr.Blocks, settings: Settings, **app) -> tuple:
    """Start the server in the background, closed to everything this app does not use. Returns what gr.Blocks.launch does.

    Args:
        app: what the FastAPI app under the page is given, such as routes.
    """
    return page.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        auth=tuple(settings.auth.split(":", 1)) if settings.auth else None,
        root_path=settings.root_path or None,
        max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        theme=THEME,
        css_paths=[WEB / f"{name}.css" for name in ("style", "giving", "gallery", "attention", "map", "embeddings", "finetune", "export")],
        js=(WEB / "load.js").read_text("utf-8"),
        app_kwargs=app,
        favicon_path=ASSETS / "icon.svg",
        allowed_paths=[str(ASSETS)],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        share=False,
        ssr_mode=False,
        show_error=False,
        state_session_capacity=1000,
        quiet=True,
        prevent_thread_lock=True,
    )


def _tell(store: ModelStore) -> None:
    """Load the operator's model and say in the terminal what came of it. The page is open meanwhile, and stays so without a model."""
    try:
        vit = store.get().result()
        print(f"{vit.name} is ready on {vit.device}, weights from {vit.source}", flush=True)
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr, flush=True)


def _is_local(host: str) -> bool:
    """Whether an address leads to this machine alone. A name that can't be looked up does not say so."""
    try:
        return all(ipaddress.ip_address(each[4][0]).is_loopback for each in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False


def _private_folder(settings: Settings) -> str:
    """Where Gradio puts uploads. Set before the components are made, which note it down."""
    folder = str(settings.temp_dir.resolve()) if settings.temp_dir else tempfile.mkdtemp(prefix="vitdemo-")
    os.environ["GRADIO_TEMP_DIR"] = folder
    return folder
