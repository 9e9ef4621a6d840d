"""Serve this bundle's model over HTTP, with ONNX Runtime and FastAPI; no torch.

    pip install -r requirements.txt && uvicorn server:app --port 8000

POST /predict takes up to MAX_FILES photos as multipart form data and answers with one row each, in order. GET /health says that the process
lives, /ready that the model gives the bundle's known answer on this machine, /metrics counts for Prometheus. Each photo is one task on one
core: photos of one request are worked on side by side, and those that are too many are refused, not kept waiting for ever.
"""

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while it is imported: its official builds report to their maker
import onnxruntime
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image
from preprocess import TooNarrow, preprocess
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

HERE = Path(__file__).parent
CORES = int(os.environ.get("CORES", 0)) or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
MAX_FILES = int(os.environ.get("MAX_FILES", 32))
MAX_BYTES = int(os.environ.get("MAX_MB", 50)) << 20  # of a request
MAX_WAITING = int(os.environ.get("MAX_WAITING", 256))  # photos under way or waiting
Image.MAX_IMAGE_PIXELS = int(os.environ.get("MAX_MEGAPIXELS", 64)) * 500_000  # Pillow refuses at twice this

LABELS = json.loads((HERE / "labels.json").read_text("utf-8"))
KNOWN = json.loads((HERE / "known_answer" / "answer.json").read_text("utf-8"))
requests = Counter("vit_requests", "Requests to /predict", ["status"])
photos = Counter("vit_photos", "Photos", ["outcome"])
seconds = Histogram("vit_request_seconds", "Time from a request's first byte to its answer", buckets=[0.01 * 2**each for each in range(12)])
pool = ThreadPoolExecutor(CORES, thread_name_prefix="predict")
model: dict = {"session": None, "problem": "The model is still loading.", "busy": 0}
Gauge("vit_photos_busy", "Photos under way or waiting").set_function(lambda: model["busy"])


def start() -> None:
    """Load the model and see that it gives the bundle's known answer here."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # times as many runs at once as there are cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model["session"] = onnxruntime.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])
    found = run(np.load(HERE / "known_answer" / "input.npy"))
    difference = float(np.abs(found - np.load(HERE / "known_answer" / "output.npy")).max())
    agrees = difference <= KNOWN["tolerance"]
    model["problem"] = "" if agrees else f"On this machine the model's known answer is off by {difference:.3g}: export it here anew."


def run(batch: np.ndarray) -> np.ndarray:
    """(batch, …) → (batch, classes)"""
    return model["session"].run([KNOWN["output"]], {"image": batch})[0]


def predict(name: str, data: bytes, top: int) -> dict:
    """One photo's row: its predictions, or the reason why there are none."""
    try:
        array = preprocess(data)
    except TooNarrow as error:
        return {"file": name, "error": f"This photo can't be used: {error}."}
    except Exception:  # Pillow's decoders raise nearly anything on a hostile file
        return {"file": name, "error": "This is no photo that can be read, or a damaged or too large one: send a JPEG, PNG or WebP."}
    logits = run(array[None])[0].astype(np.float64)  # (classes,)
    if not LABELS:
        return {"file": name, "features": logits.tolist()}
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = np.argsort(-probabilities, kind="stable")[:top]
    return {"file": name, "predictions": [{**LABELS[index], "probability": float(probabilities[index])} for index in best]}


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Load the model before the first request, and let go of the threads after the last."""
    await asyncio.get_running_loop().run_in_executor(pool, start)
    yield
    pool.shutdown(wait=False, cancel_futures=True)


app = FastAPI(title="Vision Transformer", lifespan=lifespan, docs_url=None, redoc_url=None)


class BodyLimit:
    """Refuses a request as soon as more than MAX_BYTES of it have come, whatever its header promised."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        come = 0

        async def counted():
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > MAX_BYTES:
                raise HTTPException(413, f"A request may have {MAX_BYTES >> 20} MB: send fewer or smaller photos.")
            return message

        await self.app(scope, counted, send)


app.add_middleware(BodyLimit)


@app.middleware("http")
async def measure(request: Request, call_next):
    """Count requests for predictions and their seconds."""
    if request.url.path != "/predict":
        return await call_next(request)
    begin = time.perf_counter()
    response = await call_next(request)
    seconds.observe(time.perf_counter() - begin)
    requests.labels(response.status_code).inc()
    return response


@app.get("/health")
async def health():
    """The process is alive."""
    return {"status": "alive"}


@app.get("/ready")
async def ready():
    """200 once the model has given its known answer, 503 with the reason before."""
    if model["problem"]:
        raise HTTPException(503, model["problem"])
    return {"status": "ready"}


@app.get("/metrics")
async def metrics():
    """Figures for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.post("/predict")
async def predict_photos(request: Request, top: int = 5):
    """The `top` likeliest classes of each photo sent as `files`, or why it can't be read."""
    await ready()
    async with request.form(max_files=MAX_FILES, max_fields=1) as form:
        sent = [(each.filename, await each.read()) for each in form.getlist("files") if hasattr(each, "filename")]
    if not sent or top < 1:
        raise HTTPException(422, "Send photos as multipart form data under the name “files”, and top of 1 or more.")
    if model["busy"] + len(sent) > MAX_WAITING:
        raise HTTPException(503, "All cores are busy and the queue is full: try again.", {"Retry-After": "1"})
    model["busy"] += len(sent)
    try:
        loop = asyncio.get_running_loop()
        rows = await asyncio.gather(*(loop.run_in_executor(pool, predict, name, data, top) for name, data in sent))
    finally:
        model["busy"] -= len(sent)
    read = sum("error" not in row for row in rows)
    photos.labels("answered").inc(read)
    photos.labels("unreadable").inc(len(rows) - read)
    if not read:
        raise HTTPException(422, rows)
    return rows
