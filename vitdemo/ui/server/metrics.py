"""The operator's monitoring, for `--monitor`: `/health`, and `/metrics` for Prometheus. Neither holds a visitor's data."""

import threading
from functools import partial

import gradio as gr
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vitdemo import __version__
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.server.gradio_internals import queue_length

BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)  # seconds: upper bounds of the histograms' buckets


class Metrics:
    """The metrics, and the routes that publish them.

    Requests are counted by their route, never by their path, which a visitor chooses.

    Args:
        leaving: set once the app is being stopped.
    """

    def __init__(self, leaving: threading.Event):
        self._leaving = leaving
        self._registry = registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        self._requests = Counter("vitdemo_requests", "Answered requests", ("route", "status"), registry=registry)
        self._times = Histogram("vitdemo_request_seconds", "Time to the end of the answer", ("route",), buckets=BUCKETS, registry=registry)
        self._waited = Histogram("vitdemo_model_wait_seconds", "Time before the model", ("kind",), buckets=BUCKETS, registry=registry)
        self._ran = Histogram("vitdemo_model_seconds", "Time in the model", ("kind",), buckets=BUCKETS, registry=registry)
        self._queue = Gauge("vitdemo_queue_length", "Requests that wait for their turn", registry=registry)

    def routes(self, page: gr.Blocks, store: ModelStore) -> list[Route]:
        """The routes `/health` and `/metrics` of this page."""
        self._queue.set_function(lambda: queue_length(page))
        return [Route("/health", partial(self._health, store)), Route("/metrics", self._export)]

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record an answered request."""
        self._requests.labels(route, status).inc()
        self._times.labels(route).observe(seconds)

    def work(self, kind: str, waited: float, ran: float) -> None:
        """Record one piece of the model's work: its kind, short or long, and its seconds before the model and in the model."""
        self._waited.labels(kind).observe(waited)
        self._ran.labels(kind).observe(ran)

    def _health(self, store: ModelStore, request: Request) -> Response:
        """Status 200 while the operator's model is ready or loading; 503 where it failed to load, and while the app is being stopped."""
        loading = store.get()
        model = "loading" if not loading.done.is_set() else "ready" if loading.vit else "failed"
        leaving = self._leaving.is_set()
        return JSONResponse({"model": model, "leaving": leaving, "version": __version__}, 503 if leaving or model == "failed" else 200)

    def _export(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
