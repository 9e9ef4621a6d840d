"""`--precision auto`: run the loaded model in fp32 and in bf16 on this machine, and take bf16 where it is much faster and as good."""

import copy
import hashlib
import json
import logging
import platform
from dataclasses import asdict, dataclass, replace
from statistics import median

import torch

from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.fingerprint import fingerprint
from vitdemo.core.models.precision import set_precision
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import write_json
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.samples import samples

MIN_SPEEDUP = 1.3
MIN_COSINE = 0.999
PICTURES = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """bf16 beside fp32, on the bundled pictures.

    Attributes:
        speedup: seconds of a single photo's pass in fp32 by those in bf16, the median of all pictures.
        cosine: of the head's inputs in both, the lowest of all pictures.
    """

    speedup: float
    cosine: float

    @property
    def precision(self) -> str:
        """What `auto` takes: bf16 where it is fast enough and close enough, else fp32."""
        return "bf16" if self.speedup >= MIN_SPEEDUP and self.cosine >= MIN_COSINE else "fp32"

    @property
    def sentence(self) -> str:
        """What was taken, and why."""
        return (
            f"Precision auto took {self.precision}: on this machine bf16 is {self.speedup:.2f} times as fast as fp32, "
            f"and its features have a cosine of {self.cosine:.5f} with fp32's at least."
        )


def has_fast_bf16(device: torch.device) -> bool | None:
    """Whether the device computes bf16 faster than fp32: AMX or AVX512_BF16 on x86; None where only a measurement tells."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return None


def slow_on(device: torch.device, precision: str) -> str:
    """A sentence where the device gains nothing by a precision; else empty."""
    if precision == "fp16" and device.type == "cpu":
        return "fp16 gains nothing on a processor: choose bf16 where it is fast, or fp32."
    if precision in ("bf16", "auto") and has_fast_bf16(device) is False:
        if device.type == "cuda":
            return "This GPU has no bf16 of its own, so fp32 is faster here; --precision fp16 may be faster still."
        return "This machine has no fast bf16 (AMX, AVX512_BF16 or a GPU that has it): fp32 is faster here."
    return ""


def chosen(vit: Vit, engine: Engine, settings: Settings) -> Vit:
    """Choose the precision of a model that was loaded in fp32; the vit given may be cast, so that nothing else may use it.

    The measurement is kept beside the vector cache, by the model's weights, torch's version and the machine.
    """
    if sentence := slow_on(engine.device, "auto"):
        return replace(vit, notes=(*vit.notes, f"Precision auto took fp32. {sentence}"))
    path = settings.cache_folder / "precision" / f"{_key(vit, engine)}.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        measured = Measurement(float(kept["speedup"]), float(kept["cosine"]))
    except (OSError, ValueError, TypeError, KeyError):  # not measured yet, or not readable: both are mended by measuring
        measured = measure(vit, engine, settings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(asdict(measured), path)
        except OSError as error:
            log.warning("the measured precision can't be kept in %s: %s", path.parent, error)
    module = set_precision(vit.module, measured.precision, engine.device)
    return replace(vit, module=module, precision=measured.precision, notes=(*vit.notes, measured.sentence))


def measure(vit: Vit, engine: Engine, settings: Settings) -> Measurement:
    """Run the bundled pictures through the model in fp32 and, each time, in bf16: a few seconds for ViT-B/16."""
    lower = replace(vit, module=set_precision(copy.deepcopy(vit.module), "bf16", engine.device), precision="bf16")
    inputs = [vit.preprocessing(open_photo(sample.path, settings).image)[None] for sample in samples()[:PICTURES]]
    for model in (vit, lower):
        engine.logits_and_features(model, inputs[0])  # what a first pass sets up doesn't count
    ratios, cosines = [], []
    for picture in inputs:
        (_, exact, plain_seconds), (_, close, seconds) = (engine.logits_and_features(model, picture) for model in (vit, lower))
        ratios.append(plain_seconds / seconds)
        cosines.append(torch.cosine_similarity(exact, close).item())
    return Measurement(median(ratios), min(cosines))


def _key(vit: Vit, engine: Engine) -> str:
    device = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else engine.device.type
    machine = (torch.cpu.get_capabilities().get("cpu_name"), platform.machine(), torch.get_num_threads(), device)
    return hashlib.sha256(repr((fingerprint(vit), torch.__version__, machine)).encode()).hexdigest()[:32]
