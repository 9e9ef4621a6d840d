"""Settings: every limit, default and path, in one frozen dataclass.

A setting comes from its flag (`--max-upload-mb 20`), else from its variable (`VITDEMO_MAX_UPLOAD_MB=20`), else from its default.
"""

import argparse
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vitdemo.core.errors import UsageError

DEFAULT_MODEL = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
DEMO_MODEL = "demo"
ASSETS = Path(__file__).parents[2] / "assets"
MODEL_FLAGS = ("model", "checkpoint", "device", "precision")
SHARED = Path(os.environ.get("VITDEMO_SHARED", "../shared"))  # real weights and photos, only for tests and benchmarks

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


@dataclass(frozen=True)
class _Parser:
    """Parses a setting's text; raises ValueError for a text that is not what is `wanted`."""

    parse: Callable[[str], Any]
    wanted: str

    def __call__(self, text: str) -> Any:
        return self.parse(text)


def _whole(low: int, high: int) -> _Parser:
    def parse(text: str) -> int:
        if not low <= (number := int(text)) <= high:
            raise ValueError
        return number

    return _Parser(parse, f"a whole number from {low} to {high}")


def _parse_seconds(text: str) -> float:
    if not 0.1 <= (number := float(text)) <= 600:
        raise ValueError
    return number


_seconds = _Parser(_parse_seconds, "a number of seconds from 0.1 to 600")


def _parse_switch(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError
    return text.lower() in _TRUE


_switch = _Parser(_parse_switch, "1 or 0")


def _one_of(*words: str) -> _Parser:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return _Parser(parse, "one of " + ", ".join(words))


def _parse_device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", text):
        raise ValueError
    return text


_device = _Parser(_parse_device, "auto, cpu, cuda, cuda:1 or mps")


def _parse_login(text: str) -> str:
    user, _, password = text.partition(":")
    if not user or not password:
        raise ValueError
    return text


_login = _Parser(_parse_login, "USER:PASSWORD")


def _setting(default: Any, parse: Callable[[str], Any], meaning: str) -> Any:
    return field(default=default, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True)
class Settings:
    """The operator's settings. docs/settings.md is generated from these fields."""

    model: str = _setting("auto", str, "`auto` (ViT-B/16, offline `demo`), a catalogue or timm ViT name, or `local-dir:DIR`")
    checkpoint: Path | None = _setting(None, Path, "a SafeTensors file with the weights for the named model; no network is used")
    device: str = _setting("auto", _device, "`auto` takes CUDA, then MPS, then the CPU; or `cpu`, `cuda`, `cuda:1`, `mps`")
    precision: str = _setting("fp32", _one_of("fp32", "bf16", "fp16"), "`fp32`; `bf16` or `fp16` run under autocast on a CUDA device")
    host: str = _setting("127.0.0.1", str, "address to listen on; `0.0.0.0` lets other machines in")
    port: int = _setting(7860, _whole(0, 65535), "port to listen on; 0 takes a free one")
    auth: str | None = _setting(None, _login, "`USER:PASSWORD` that visitors must give")
    lock_model: bool = _setting(False, _switch, "every visitor uses the operator's model; the picker is off")
    root_path: str = _setting("", str, "the path under which a reverse proxy serves the app, such as `/vitdemo`")
    monitor: bool = _setting(False, _switch, "serve `/health`, and `/metrics` for Prometheus, to everyone who reaches the app")
    max_upload_mb: int = _setting(50, _whole(1, 2000), "largest file accepted, in megabytes")
    max_megapixels: int = _setting(64, _whole(1, 1000), "largest photo decoded, in millions of pixels")
    max_gallery: int = _setting(5000, _whole(1, 100_000), "most photos a visitor may give at once; the command line has no limit")
    max_zip_mb: int = _setting(500, _whole(1, 10_000), "largest zip accepted, in megabytes")
    batch_size: int = _setting(
        0,
        _whole(0, 1024),
        "photos the model takes at a time from a gallery, shared out among a CPU's cores; 0 chooses by the device's memory",
    )
    max_image_size: int = _setting(518, _whole(32, 2048), "largest input size a visitor may ask of the model, in pixels a side")
    upload_minutes: int = _setting(120, _whole(5, 100_000), "how long what a visitor gave or made is kept; all goes when the app stops")
    max_queue: int = _setting(100, _whole(1, 10_000), "requests that may wait; the next one is told that the app is busy")
    model_cache_mb: int = _setting(4096, _whole(64, 1_000_000), "memory for loaded models, in megabytes")
    model_hold_minutes: int = _setting(15, _whole(1, 1440), "how long a visitor's model is kept for them after its last use")
    trace_cache_mb: int = _setting(
        1536, _whole(64, 1_000_000), "memory for the attention of the latest photos, in megabytes; one that needs more is refused"
    )
    workspace_mb: int = _setting(2048, _whole(16, 1_000_000), "most that one visitor's long job may keep on the disk, in megabytes")
    max_jobs: int = _setting(20, _whole(1, 1000), "long jobs, such as fine-tuning, that may wait; one runs at a time")
    vector_cache_mb: int = _setting(
        2048, _whole(0, 1_000_000), "disk space for the vectors of photos seen before, in megabytes; 0 keeps none"
    )
    cache_dir: Path | None = _setting(
        None, Path, "folder for these vectors and for compiled code; by default `vitdemo` in the user's cache folder"
    )
    map_timeout: float = _setting(300.0, _seconds, "seconds after which a map of a gallery is given up")
    maps_dir: Path | None = _setting(
        None, Path, "folder of pages that `python -m vitdemo map` made, for every visitor to open in the Embeddings tab"
    )
    compare_photos: int = _setting(200, _whole(8, 100_000), "most photos that an export is compared with its original on")
    hub_timeout: float = _setting(5.0, _seconds, "seconds within which the model hub must answer a first contact")
    temp_dir: Path | None = _setting(None, Path, "where to put the private folder for uploads, which goes when the app stops")
    temp_mb: int = _setting(8192, _whole(64, 10_000_000), "most that uploads and what visitors make may take on the disk, in megabytes")
    results_mb: int = _setting(768, _whole(16, 1_000_000), "memory for the results of visitors' galleries, in megabytes")
    drain_seconds: float = _setting(20.0, _seconds, "how long requests may take to end once the app is told to stop")
    log_json: bool = _setting(False, _switch, "log requests, work and faults as JSON, one object a line, with nothing that a visitor gave")

    @property
    def max_upload_bytes(self) -> int:
        """`max_upload_mb` in bytes."""
        return self.max_upload_mb << 20

    @property
    def max_zip_bytes(self) -> int:
        """`max_zip_mb` in bytes."""
        return self.max_zip_mb << 20

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return self.max_megapixels * 1_000_000

    @property
    def cache_folder(self) -> Path:
        """`cache_dir`, by default `vitdemo` in the user's cache folder."""
        return self.cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "vitdemo")

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
        """Add a flag to `parser` for each setting, or only for those in `names`."""
        for setting in fields(cls):
            if names is None or setting.name in names:
                flag, parse = "--" + setting.name.replace("_", "-"), setting.metadata["parse"]
                meaning = setting.metadata["meaning"].replace("`", "").replace("%", "%%")
                if parse is _switch:
                    parser.add_argument(flag, action="store_const", const="1", help=meaning)
                else:
                    parser.add_argument(flag, metavar=setting.name.upper(), help=f"{meaning} (default: {setting.default})")

    @classmethod
    def read(cls, flags: argparse.Namespace | None = None, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from flags and VITDEMO_* environment variables.

        Raises: UsageError naming the flag or variable whose value can't be used.
        """
        values = {}
        for setting in fields(cls):
            name, text = "--" + setting.name.replace("_", "-"), getattr(flags, setting.name, None)
            if text is None:
                name = "VITDEMO_" + setting.name.upper()
                text = environ.get(name) or None
            if text is None:
                continue
            parse = setting.metadata["parse"]
            try:
                values[setting.name] = parse(text)
            except ValueError:
                problem = "not usable: it" if setting.name == "auth" else f"“{text}”, but it"  # keeps a password out of the log
                raise UsageError(f"{name} is {problem} must be {parse.wanted}.") from None
        if values.get("checkpoint") and values.get("model", "auto") == "auto":
            values["model"] = DEFAULT_MODEL
        return cls(**values)
