"""Serve this bundle's model with Ray Serve and ONNX Runtime: photos that arrive together run as one batch, replicas follow the traffic.

    pip install -r requirements-ray.txt && python ray_server.py

That starts Ray on this machine. On a cluster: `serve deploy ray_serve.yaml`, with this folder where every machine finds it. POST /predict
takes photos as multipart form data and answers with one row each, in order; GET /ready is 200 once a replica has given the known answer.
"""

import asyncio
import json
import os
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime
import ray
from PIL import Image
from preprocess import TooNarrow, preprocess
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

HERE = Path(__file__).parent.resolve()
HOST, PORT = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", 8000))
REPLICAS = int(os.environ.get("MAX_REPLICAS", 4))  # each takes one CPU
BATCH, WAIT = (
    int(os.environ.get("MAX_BATCH", 8)),
    float(os.environ.get("BATCH_WAIT", 0.01)),
)  # photos, and seconds that one waits for others
GROW_AFTER = float(os.environ.get("GROW_AFTER", 10))  # seconds of too many requests until a replica more is started
MAX_FILES = int(os.environ.get("MAX_FILES", 32))
MAX_BYTES = int(os.environ.get("MAX_MB", 50)) << 20  # of a request
WAITING = int(os.environ.get("MAX_WAITING", 256))  # requests that may wait; more are answered with 503


@serve.deployment(
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": REPLICAS,
        "target_ongoing_requests": BATCH // 2 or 1,
        "upscale_delay_s": GROW_AFTER,
    },
    max_ongoing_requests=2 * BATCH,
    max_queued_requests=WAITING,
    ray_actor_options={"num_cpus": 1},
)
class Vit:
    """One replica. It begins only if the model gives its known answer on its machine."""

    def __init__(self):
        Image.MAX_IMAGE_PIXELS = int(os.environ.get("MAX_MEGAPIXELS", 64)) * 500_000  # Pillow refuses at twice this
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.labels = json.loads((HERE / "labels.json").read_text("utf-8"))
        self.known = json.loads((HERE / "known_answer" / "answer.json").read_text("utf-8"))
        found = self.run(np.load(HERE / "known_answer" / "input.npy"))
        difference = float(np.abs(found - np.load(HERE / "known_answer" / "output.npy")).max())
        if not difference <= self.known["tolerance"]:
            raise RuntimeError(f"On this machine the model's known answer is off by {difference:.3g}: export it here anew.")

    def run(self, batch: np.ndarray) -> np.ndarray:
        """(batch, …) → (batch, classes)"""
        return self.session.run([self.known["output"]], {"image": batch})[0]

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT)
    async def rows(self, photos: list[tuple[str, bytes, int]]) -> list[dict]:
        """Name, bytes and top of photos that came at the same time → their rows."""
        return await asyncio.to_thread(self.answer, photos)

    def answer(self, photos: list[tuple[str, bytes, int]]) -> list[dict]:
        rows: list[dict] = [{"file": name} for name, _, _ in photos]
        arrays = {}
        for number, (_, data, _) in enumerate(photos):
            try:
                arrays[number] = preprocess(data)
            except TooNarrow as error:
                rows[number]["error"] = f"This photo can't be used: {error}."
            except Exception:  # Pillow's decoders raise nearly anything on a hostile file
                rows[number]["error"] = "This is no photo that can be read, or a damaged or too large one: send a JPEG, PNG or WebP."
        if arrays:
            for number, logits in zip(arrays, self.run(np.stack(list(arrays.values()))).astype(np.float64), strict=True):
                rows[number] |= self.said(logits, photos[number][2])
        return rows

    def said(self, logits: np.ndarray, top: int) -> dict:
        if not self.labels:
            return {"features": logits.tolist()}
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        best = np.argsort(-probabilities, kind="stable")[:top]
        return {"predictions": [{**self.labels[index], "probability": float(probabilities[index])} for index in best]}

    async def __call__(self, request: Request) -> JSONResponse:
        if request.url.path == "/ready" and request.method == "GET":
            return JSONResponse({"status": "ready"})
        if request.url.path != "/predict" or request.method != "POST":
            return JSONResponse({"detail": "POST photos to /predict."}, 404)
        if int(request.headers.get("content-length") or MAX_BYTES + 1) > MAX_BYTES:
            return JSONResponse({"detail": f"A request may have {MAX_BYTES >> 20} MB: send fewer or smaller photos."}, 413)
        top = request.query_params.get("top", "5")
        async with request.form(max_files=MAX_FILES, max_fields=1) as form:
            sent = [(each.filename, await each.read()) for each in form.getlist("files") if hasattr(each, "filename")]
        if not sent or not top.isdecimal() or not int(top):
            return JSONResponse({"detail": "Send photos as multipart form data under the name “files”, and top of 1 or more."}, 422)
        rows = await asyncio.gather(*(self.rows((name, data, int(top))) for name, data in sent))
        return JSONResponse(rows, 422 if all("error" in row for row in rows) else 200)


app = Vit.bind()

if __name__ == "__main__":
    if "RAY_ADDRESS" not in os.environ:
        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": HOST, "port": PORT})
    serve.run(app, name="vit", blocking=True)
