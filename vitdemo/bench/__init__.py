"""Measurements, each compared with what a user would run instead. Benches import nothing heavy until they run."""

from importlib import import_module


def _bench(name: str):
    return lambda **options: import_module(f"vitdemo.bench.{name}").run(**options)


BENCHES = {
    name: _bench(name)
    for name in (
        "startup",
        "classify",
        "decode",
        "ways",
        "trace",
        "faithfulness",
        "embed",
        "layers",
        "finetune",
        "heads",
        "labels",
        "export",
        "serve",
        "ray",
        "load",
        "gpu",
    )
}
