"""Settings: flag before variable before default, and a sentence for every value that can't be used."""

import argparse
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from vitdemo.core.config import DEFAULT_MODEL, MODEL_FLAGS, Settings
from vitdemo.core.errors import UsageError

# name: the default, then a text with the value it stands for, as a variable and as a flag
SETTINGS = {
    "model": ("auto", ("demo", "demo"), ("local-dir:x", "local-dir:x")),
    "checkpoint": (None, ("a.safetensors", Path("a.safetensors")), ("b c.safetensors", Path("b c.safetensors"))),
    "labels": (None, ("names.txt", Path("names.txt")), ("my names.csv", Path("my names.csv"))),
    "device": ("auto", ("cpu", "cpu"), ("cuda:1", "cuda:1")),
    "icc": ("auto", ("convert", "convert"), ("ignore", "ignore")),
    "zip_encoding": ("", ("gbk", "gbk"), ("shift_jis", "shift_jis")),
    "precision": ("fp32", ("bf16", "bf16"), ("fp16", "fp16")),
    "host": ("127.0.0.1", ("0.0.0.0", "0.0.0.0"), ("::1", "::1")),
    "port": (7860, ("0", 0), ("65535", 65535)),
    "auth": (None, ("ann:s3cret", "ann:s3cret"), ("bob:a:b", "bob:a:b")),
    "root_path": ("", ("vitdemo", "/vitdemo"), ("https://example.org/x/", "https://example.org/x")),
    "max_upload_mb": (50, ("1", 1), ("2000", 2000)),
    "max_megapixels": (64, ("1", 1), ("1000", 1000)),
    "max_gallery": (5000, ("1", 1), ("100000", 100_000)),
    "max_zip_mb": (500, ("1", 1), ("10000", 10_000)),
    "batch_size": (0, ("1", 1), ("1024", 1024)),
    "max_image_size": (518, ("32", 32), ("2048", 2048)),
    "upload_minutes": (120, ("5", 5), ("100000", 100_000)),
    "max_queue": (100, ("1", 1), ("10000", 10_000)),
    "model_cache_mb": (4096, ("64", 64), ("1000000", 1_000_000)),
    "model_hold_minutes": (15, ("1", 1), ("1440", 1440)),
    "trace_cache_mb": (1536, ("64", 64), ("1000000", 1_000_000)),
    "workspace_mb": (2048, ("16", 16), ("1000000", 1_000_000)),
    "max_jobs": (20, ("1", 1), ("1000", 1000)),
    "vector_cache_mb": (2048, ("0", 0), ("1000000", 1_000_000)),
    "cache_dir": (None, ("/tmp/a", Path("/tmp/a")), ("b c", Path("b c"))),
    "map_timeout": (300.0, ("0.1", 0.1), ("600", 600.0)),
    "maps_dir": (None, ("/tmp/a", Path("/tmp/a")), ("b c", Path("b c"))),
    "compare_photos": (200, ("8", 8), ("100000", 100_000)),
    "hub_timeout": (5.0, ("0.1", 0.1), ("600", 600.0)),
    "temp_dir": (None, ("/tmp/a", Path("/tmp/a")), ("/tmp/b", Path("/tmp/b"))),
    "temp_mb": (8192, ("64", 64), ("10000000", 10_000_000)),
    "results_mb": (768, ("16", 16), ("1000000", 1_000_000)),
    "drain_seconds": (20.0, ("0.1", 0.1), ("600", 600.0)),
}
SWITCHES = ("lock_model", "monitor", "log_json", "jpeg_draft")
WHOLE = "a whole number from {} to {}"
BAD = [
    *(("port", text, WHOLE.format(0, 65535)) for text in ("-1", "65536", "http", "80.0", "1e3")),
    *(("max_upload_mb", text, WHOLE.format(1, 2000)) for text in ("0", "2001", "5MB")),
    *(("max_megapixels", text, WHOLE.format(1, 1000)) for text in ("0", "1001", "nan")),
    *(("max_gallery", text, WHOLE.format(1, 100_000)) for text in ("0", "100001", "5k")),
    *(("max_zip_mb", text, WHOLE.format(1, 10_000)) for text in ("0", "10001", "1GB")),
    *(("batch_size", text, WHOLE.format(0, 1024)) for text in ("-1", "1025", "auto")),
    *(("max_image_size", text, WHOLE.format(32, 2048)) for text in ("31", "2049", "224x224")),
    *(("upload_minutes", text, WHOLE.format(5, 100_000)) for text in ("4", "100001", "2h")),
    *(("max_queue", text, WHOLE.format(1, 10_000)) for text in ("0", "10001", "many")),
    *(("model_cache_mb", text, WHOLE.format(64, 1_000_000)) for text in ("63", "1000001", "4 GB")),
    *(("model_hold_minutes", text, WHOLE.format(1, 1440)) for text in ("0", "1441", "½")),
    *(("trace_cache_mb", text, WHOLE.format(64, 1_000_000)) for text in ("63", "1000001", "1 GB")),
    *(("workspace_mb", text, WHOLE.format(16, 1_000_000)) for text in ("15", "1000001", "2GB")),
    *(("temp_mb", text, WHOLE.format(64, 10_000_000)) for text in ("63", "10000001", "8GB")),
    *(("results_mb", text, WHOLE.format(16, 1_000_000)) for text in ("15", "1000001", "half")),
    *(("drain_seconds", text, "a number of seconds from 0.1 to 600") for text in ("0", "601", "nan", "soon")),
    *(("max_jobs", text, WHOLE.format(1, 1000)) for text in ("0", "1001", "few")),
    *(("vector_cache_mb", text, WHOLE.format(0, 1_000_000)) for text in ("-1", "1000001", "2 GB")),
    *(("map_timeout", text, "a number of seconds from 0.1 to 600") for text in ("0", "-5", "601", "nan", "inf", "5m")),
    *(("compare_photos", text, WHOLE.format(8, 100_000)) for text in ("7", "100001", "all")),
    *(("hub_timeout", text, "a number of seconds from 0.1 to 600") for text in ("0", "-5", "601", "nan", "inf", "5s")),
    *(
        ("zip_encoding", text, "the name of an encoding, such as gbk, shift_jis, cp1251 or cp437")
        for text in ("klingon", "utf-16", "base64", "rot13")
    ),
    *(("icc", text, "one of auto, ignore, convert") for text in ("srgb", "Convert", "yes")),
    *(("precision", text, "one of fp32, bf16, fp16, auto") for text in ("fp8", "FP16", "float32")),
    *(
        (
            "root_path",
            text,
            "a path such as /vitdemo, or an address such as https://example.org/vitdemo, and not one of the app's own paths",
        )
        for text in (
            *(
                "demo.example.org/vitdemo",
                "ftp://example.org/x",
                "https:///x",
                "https://",
                "https://a b/x",
                "https://ann:secret@example.org/x",
            ),
            *("//vitdemo", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/a#b", "/%41", "/vít", "C:/vitdemo", "\\vitdemo"),
            *("page", "/gradio_api/", "/static/x", "https://example.org/assets", "https://example.org//x", "https://example.org:port/x"),
        )
    ),
    *(("auth", text, "USER:PASSWORD") for text in ("ann", "ann:", ":secret", ":")),
    *(
        ("device", text, "auto, cpu, cuda, cuda:1 or mps")
        for text in ("tpu", "gpu", "CUDA", "cuda:x", "cuda:-1", "cuda1", "cuda:", "cpu:", "auto:1", "cuda:²", "cuda:01")
    ),
]


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return "VITDEMO_" + name.upper()


def read(*flags: str, environ: dict[str, str] | None = None) -> Settings:
    parser = argparse.ArgumentParser()
    Settings.add_flags(parser)
    return Settings.read(parser.parse_args(flags), environ or {})


def test_every_setting_is_tested_here():
    assert {each.name for each in fields(Settings)} == {*SETTINGS, *SWITCHES}


def test_defaults():
    assert read() == Settings.read(None, {}) == Settings()
    assert {name: getattr(Settings(), name) for name in SETTINGS} == {name: default for name, (default, *_) in SETTINGS.items()}
    assert [getattr(Settings(), name) for name in SWITCHES] == [False] * len(SWITCHES)
    assert DEFAULT_MODEL == "vit_base_patch16_224.augreg2_in21k_ft_in1k"


def test_flag_beats_variable_beats_default(subtests):
    for name in SETTINGS:
        with subtests.test(name=name):
            default, (in_variable, from_variable), (in_flag, from_flag) = SETTINGS[name]
            assert len({default, from_variable, from_flag}) == 3
            environ = {variable(name): in_variable}
            assert getattr(read(environ=environ), name) == from_variable
            assert getattr(read(flag(name), in_flag, environ=environ), name) == from_flag
            assert getattr(read(flag(name), in_flag), name) == from_flag
            assert getattr(read(environ={variable(name): ""}), name) == default  # an empty variable is none


def test_switch(subtests):
    for name in SWITCHES:
        for text, value in [("1", True), ("true", True), ("YES", True), ("On", True), ("0", False), ("no", False), ("OFF", False)]:
            with subtests.test(name=name, text=text, value=value):
                assert getattr(read(environ={variable(name): text}), name) is value
                assert getattr(read(flag(name), environ={variable(name): text}), name) is True


@pytest.mark.parametrize("text", ["2", "maybe", "tru"])
def test_bad_switch(text):
    with pytest.raises(UsageError) as refusal:
        read(environ={"VITDEMO_LOCK_MODEL": text})
    assert str(refusal.value) == f"VITDEMO_LOCK_MODEL is “{text}”, but it must be 1 or 0."


def test_bad_value_is_named_with_what_is_wanted(subtests):
    for name, text, wanted in BAD:
        with subtests.test(name=name, text=text, wanted=wanted):
            with pytest.raises(UsageError) as refusal:
                read(f"{flag(name)}={text}")
            given = "not usable: it" if name == "auth" else f"“{text}”, but it"  # a password is not repeated
            assert str(refusal.value) == f"{flag(name)} is {given} must be {wanted}."
            with pytest.raises(UsageError) as refusal:
                read(environ={variable(name): text})
            assert str(refusal.value) == f"{variable(name)} is {given} must be {wanted}."


def test_every_setting_with_a_limit_has_bad_values():
    anything_goes = {"model", "checkpoint", "labels", "host", "temp_dir", "cache_dir", "maps_dir"}
    assert {name for name, *_ in BAD} == set(SETTINGS) - anything_goes


def test_a_good_flag_hides_a_bad_variable():
    assert read("--port", "80", environ={"VITDEMO_PORT": "http"}).port == 80


def test_checkpoint_without_a_model_means_the_default_model():
    assert read("--checkpoint", "w.safetensors").model == DEFAULT_MODEL
    assert read(environ={"VITDEMO_CHECKPOINT": "w.safetensors"}).model == DEFAULT_MODEL
    assert read("--checkpoint", "w.safetensors", "--model", "auto").model == DEFAULT_MODEL
    assert read("--labels", "names.txt").model == DEFAULT_MODEL
    assert read("--checkpoint", "w.safetensors", "--model", "vit_tiny_patch16_224").model == "vit_tiny_patch16_224"
    assert read("--checkpoint", "w.safetensors", environ={"VITDEMO_MODEL": "vit_tiny_patch16_224"}).model == "vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("text", "root_path", "prefix"),
    [
        *((text, "/vitdemo", "/vitdemo") for text in ("vitdemo", "/vitdemo", "vitdemo/", "/vitdemo/", "/vitdemo//")),
        ("/a/b.c/~d-e_1", "/a/b.c/~d-e_1", "/a/b.c/~d-e_1"),
        ("/v1.2", "/v1.2", "/v1.2"),
        ("/pages", "/pages", "/pages"),
        ("/x/page", "/x/page", "/x/page"),
        ("/", "", ""),
        ("https://demo.example.org/vitdemo", "https://demo.example.org/vitdemo", "/vitdemo"),
        ("https://demo.example.org/vitdemo/", "https://demo.example.org/vitdemo", "/vitdemo"),
        ("HTTP://Demo.Example:8080/A/b", "http://demo.example:8080/A/b", "/A/b"),
        ("http://[::1]:7860/x", "http://[::1]:7860/x", "/x"),
        ("https://demo.example.org", "https://demo.example.org", ""),
        ("https://demo.example.org/", "https://demo.example.org", ""),
    ],
)
def test_where_a_proxy_serves_the_app_is_normalised(text, root_path, prefix):
    for settings in (read("--root-path", text), read(environ={"VITDEMO_ROOT_PATH": text})):
        assert (settings.root_path, settings.path_prefix) == (root_path, prefix)


def test_a_command_takes_only_the_flags_it_names():
    parser = argparse.ArgumentParser()
    Settings.add_flags(parser, MODEL_FLAGS)
    flags = parser.parse_args(["--device", "cpu"])
    assert set(vars(flags)) == {"model", "checkpoint", "labels", "device", "precision", "icc"}
    assert Settings.read(flags, {"VITDEMO_PORT": "80"}) == Settings(device="cpu", port=80)


def test_help_tells_every_setting(capsys):
    with pytest.raises(SystemExit):
        read("--help")
    told = capsys.readouterr().out
    assert all(flag(each.name) in told for each in fields(Settings))
    assert "(default: 7860)" in told
    assert not re.search(r"\(default:\s*(None)?\)", told)


def test_units_and_frozen():
    settings = Settings(max_upload_mb=3, max_megapixels=2)
    assert (settings.max_upload_bytes, settings.max_pixels) == (3 * 1024**2, 2_000_000)
    with pytest.raises(FrozenInstanceError):
        settings.port = 1
