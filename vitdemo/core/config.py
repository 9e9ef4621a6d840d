"""Settings: every limit, default and path, in one frozen dataclass.

A setting comes from its flag (`--max-upload-mb 20`), else from its variable (`VITDEMO_MAX_UPLOAD_MB=20`), else from its default.
"""

import argparse
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from vitdemo.core.errors import UsageError
from vitdemo.core.values import Parser, encoding, matching, number, one_of, served_at, setting, switch, whole

DEFAULT_MODEL = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
DEMO_MODEL = "demo"
PRECISIONS = ("fp32", "bf16", "fp16", "auto")
ASSETS = Path(__file__).parents[2] / "assets"
MODEL_FLAGS = ("model", "checkpoint", "labels", "device", "precision", "icc")
PHOTO_FLAGS = ("max_upload_mb", "max_megapixels", "zip_encoding")
OWN_PATHS = (  # where our routes' and Gradio's begin: below one of them, a stripped path would look like a whole one
    *("assets", "config", "favicon.ico", "gradio_api", "health", "login", "logout", "manifest.json", "metrics", "page", "robots.txt"),
    *("static", "svelte", "theme.css"),
)
SHARED = Path(os.environ.get("VITDEMO_SHARED", "../shared"))  # real weights and photos, only for tests and benchmarks

_model_name = Parser(partial(re.compile(r"^(hf-hub:)?timm/").sub, ""), "a model's name")  # timm's repositories are timm's own names
_device = matching(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", "auto, cpu, cuda, cuda:1 or mps")
_seconds = number(0.1, 600, "seconds")
_login = matching(r"(?s)[^:]+:.+", "USER:PASSWORD")


@dataclass(frozen=True)
class Settings:
    """The operator's settings. docs/settings.md is generated from these fields."""

    model: str = setting(
        "auto",
        _model_name,
        "`auto` (ViT-B/16, offline `demo`), a catalogue or timm ViT name, a Hugging Face repository, or `local-dir:DIR`",
    )
    checkpoint: Path | None = setting(None, Path, "a SafeTensors file with the weights for the named model; no network is used")
    labels: Path | None = setting(None, Path, "a file with the names of the named model's classes: text with a name a line, JSON or CSV")
    device: str = setting("auto", _device, "`auto` takes CUDA, then MPS, then the CPU; or `cpu`, `cuda`, `cuda:1`, `mps`")
    precision: str = setting(
        "fp32",
        one_of(*PRECISIONS),
        "`fp32`; `bf16` or `fp16`, faster where the hardware has them, a little less exact; `auto` takes bf16 where it is measured to pay",
    )
    icc: str = setting(
        "auto",
        one_of("auto", "ignore", "convert"),
        "`ignore` colour profiles, as timm does, or `convert` photos to sRGB; `auto` ignores, save for models fine-tuned with `convert`",
    )
    host: str = setting("127.0.0.1", str, "address to listen on; `0.0.0.0` lets other machines in")
    port: int = setting(7860, whole(0, 65535), "port to listen on; 0 takes a free one")
    auth: str | None = setting(None, _login, "`USER:PASSWORD` that visitors must give")
    lock_model: bool = setting(False, switch, "every visitor uses the operator's model; the picker is off")
    root_path: str = setting(
        "", served_at(OWN_PATHS), "where a reverse proxy serves the app: a path such as `/vitdemo`, or the address, with its `https://`"
    )
    monitor: bool = setting(False, switch, "serve `/health`, and `/metrics` for Prometheus, to everyone who reaches the app")
    max_upload_mb: int = setting(50, whole(1, 2000), "largest file accepted, in megabytes")
    max_megapixels: int = setting(64, whole(1, 1000), "largest photo decoded, in millions of pixels")
    max_gallery: int = setting(5000, whole(1, 100_000), "most photos a visitor may give at once; the command line has no limit")
    max_zip_mb: int = setting(500, whole(1, 10_000), "largest zip accepted, in megabytes")
    zip_encoding: str = setting("", encoding, "of names in zips that don't say theirs, such as `gbk`; by default it is guessed")
    batch_size: int = setting(
        0,
        whole(0, 1024),
        "photos the model takes at a time from a gallery, shared out among a CPU's cores; 0 chooses by the device's memory",
    )
    jpeg_draft: bool = setting(
        False,
        switch,
        "decode a gallery's JPEGs far larger than the model needs at 1/2, 1/4 or 1/8 of their size: faster, but other pixels",
    )
    max_image_size: int = setting(518, whole(32, 2048), "largest input size a visitor may ask of the model, in pixels a side")
    upload_minutes: int = setting(120, whole(5, 100_000), "how long what a visitor gave or made is kept; all goes when the app stops")
    max_queue: int = setting(100, whole(1, 10_000), "requests that may wait; the next one is told that the app is busy")
    model_cache_mb: int = setting(4096, whole(64, 1_000_000), "memory for loaded models, in megabytes")
    model_hold_minutes: int = setting(15, whole(1, 1440), "how long a visitor's model is kept for them after its last use")
    trace_cache_mb: int = setting(
        1536, whole(64, 1_000_000), "memory for the attention of the latest photos, in megabytes; one that needs more is refused"
    )
    workspace_mb: int = setting(2048, whole(16, 1_000_000), "most that one visitor's long job may keep on the disk, in megabytes")
    max_jobs: int = setting(
        20, whole(1, 1000), "long jobs, such as fine-tuning, that may wait, and comparisons of maps that may; one job runs at a time"
    )
    vector_cache_mb: int = setting(
        2048, whole(0, 1_000_000), "disk space for the vectors of photos seen before, in megabytes; 0 keeps none"
    )
    cache_dir: Path | None = setting(
        None, Path, "folder for these vectors and for compiled code; by default `vitdemo` in the user's cache folder"
    )
    map_timeout: float = setting(300.0, _seconds, "seconds after which a map of a gallery is given up")
    maps_dir: Path | None = setting(
        None, Path, "folder of pages that `python -m vitdemo map` made, for every visitor to open in the Embeddings tab"
    )
    compare_photos: int = setting(200, whole(8, 100_000), "most photos that an export is compared with its original on")
    hub_timeout: float = setting(5.0, _seconds, "seconds within which the model hub must answer a first contact")
    temp_dir: Path | None = setting(None, Path, "where to put the private folder for uploads, which goes when the app stops")
    temp_mb: int = setting(8192, whole(64, 10_000_000), "most that uploads and what visitors make may take on the disk, in megabytes")
    results_mb: int = setting(768, whole(16, 1_000_000), "memory for the results of visitors' galleries, in megabytes")
    drain_seconds: float = setting(20.0, _seconds, "how long requests may take to end once the app is told to stop")
    log_json: bool = setting(False, switch, "log requests, work and faults as JSON, one object a line, with nothing that a visitor gave")

    @property
    def path_prefix(self) -> str:
        """The path of `root_path`, such as “/vitdemo”; empty where the app has a site for itself."""
        return urlsplit(self.root_path).path

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

    @property
    def public_model(self) -> str:
        """`model` by the name that visitors know: that of a folder, local-dir:DIR, lacks the path to it."""
        kind, colon, path = self.model.partition(":")
        return f"{kind}:{Path(path).name}" if colon and kind == "local-dir" else self.model

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
        """Add a flag to `parser` for each setting, or only for those in `names`."""
        for field in fields(cls):
            if names is None or field.name in names:
                flag, parse = "--" + field.name.replace("_", "-"), field.metadata["parse"]
                meaning = field.metadata["meaning"].replace("`", "").replace("%", "%%")
                if parse is switch:
                    parser.add_argument(flag, action="store_const", const="1", help=meaning)
                else:
                    default = "" if field.default in (None, "") else f" (default: {field.default})"
                    parser.add_argument(flag, metavar=field.name.upper(), help=meaning + default)

    @classmethod
    def read(cls, flags: argparse.Namespace | None = None, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from flags and VITDEMO_* environment variables.

        Raises: UsageError naming the flag or variable whose value can't be used.
        """
        values = {}
        for field in fields(cls):
            name, text = "--" + field.name.replace("_", "-"), getattr(flags, field.name, None)
            if text is None:
                name = "VITDEMO_" + field.name.upper()
                text = environ.get(name) or None
            if text is None:
                continue
            parse = field.metadata["parse"]
            try:
                values[field.name] = parse(text)
            except ValueError:
                problem = "not usable: it" if field.name == "auth" else f"“{text}”, but it"  # keeps a password out of the log
                raise UsageError(f"{name} is {problem} must be {parse.wanted}.") from None
        if (values.get("checkpoint") or values.get("labels")) and values.get("model", "auto") == "auto":
            values["model"] = DEFAULT_MODEL
        return cls(**values)
