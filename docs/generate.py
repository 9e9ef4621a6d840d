"""Write docs/models.md and docs/settings.md from the code: `python docs/generate.py`.

The tables are made from the model catalogue and from the fields of Settings; the text around the tables stands here. tests/test_docs.py
checks that the pages on disk are the ones that this script makes.
"""

import sys
from dataclasses import fields
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from vitdemo.core.config import DEMO_MODEL, Settings  # noqa: E402 (found by the line above)
from vitdemo.core.models.catalogue import CATALOGUE  # noqa: E402

NOTE = "<!-- This page is generated. Change {source}, or the text in docs/generate.py, then run: python docs/generate.py -->"

MODELS = """\
# Models

`--model` takes one of these values:

| Value | Model |
|---|---|
| `auto` (the default) | ViT-B/16. The demo model answers if the weights of ViT-B/16 are not on the machine and the hub can't be reached. |
| a name from the catalogue below | that model |
| any other plain ViT that timm knows | that model, for example `vit_small_patch16_384.augreg_in21k_ft_in1k` |
| `local-dir:DIR` | the model in a folder with timm's layout: `config.json` and `model.safetensors` |
| `demo` | the demo model, which comes with the app |

`--checkpoint FILE.safetensors` gives the weights for the named model; then no network is used. Without `--model`, the file is read as
ViT-B/16's.

Visitors of the page choose from the catalogue, each visitor for themselves. Only the operator can name other models and folders, and
`--lock-model` keeps every visitor to the operator's model. Weights are read from SafeTensors files only, because opening a pickle can run
code.

## Catalogue

| Model | In the picker | Parameters | Download | Classes | Good for |
|---|---|---|---|---|---|
{rows}

A model with “features” has no classes. Classify shows which part of a photo such a model sees, and says that it gives features. Attention
offers the methods that need no class. Embeddings and Export work as with any other model.

Downloads go into Hugging Face's cache and are kept. An interrupted download continues from where it stopped, and the file's hash is checked
when it is complete. [Offline](deploying.md#offline) says how to bring weights to a machine without a network.

The demo model has the geometry of ViT-B/16 (196 patches, 12 layers). Its [model card](../assets/demo/README.md) has its training and its
measured figures.
"""

SETTINGS = """\
# Settings

Each setting is a flag of `python app.py` and an environment variable. The flag takes precedence over the variable. The
[command line](cli.md) takes the settings about the model and the photos as flags, and reads the same variables.

A switch is set by its flag alone (`--lock-model`), or by the value `1`, `true`, `yes` or `on` of its variable. A value that can't be used
ends the program with status 2 and a sentence that names the flag or variable.

| Flag | Variable | Default | Meaning |
|---|---|---|---|
{rows}

## Variables of other libraries

| Variable | Meaning |
|---|---|
| `HF_HOME` | folder of Hugging Face's cache; by default `~/.cache/huggingface` |
| `HF_TOKEN` | token for models whose licence has to be accepted on the hub |
| `HF_ENDPOINT` | address of a mirror of the hub |
| `HF_HUB_OFFLINE` | `1`: never contact the hub |
| `FORWARDED_ALLOW_IPS` | addresses of reverse proxies that run on other machines, see [Deploying](deploying.md#behind-a-reverse-proxy) |

## Variables for tests and benches

| Variable | Meaning |
|---|---|
| `VITDEMO_SHARED` | folder with real weights and photos for tests and [benches](benchmarks.md); by default `../shared` |
| `VITDEMO_BROWSER` | the Chromium or Chrome that browser tests use; by default an installed one is found |
| `VITDEMO_BROWSER_REQUIRED` | `1`: browser tests fail instead of being skipped where there is no browser |
| `VITDEMO_FUZZ`, `VITDEMO_FUZZ_SEED` | number of rounds (default 200) and seed (default 1) of the tests with hostile input |
"""


def models_page() -> str:
    """The text of docs/models.md, made from the catalogue."""
    rows = [
        f"| `{each.name}` | {each.title} | {each.millions} M | {'none' if each.name == DEMO_MODEL else f'{each.megabytes:,.0f} MB'} | "
        f"{f'{each.classes:,}' if each.classes else 'features'} | {each.purpose} |"
        for each in CATALOGUE
    ]
    return _page(MODELS, rows, "CATALOGUE in vitdemo/core/models/catalogue.py")


def settings_page() -> str:
    """The text of docs/settings.md, made from the fields of Settings."""
    rows = []
    for each in fields(Settings):
        flag, variable = each.name.replace("_", "-"), each.name.upper()
        default = "" if each.default is None or each.default is False or each.default == "" else f"`{each.default}`"
        rows.append(f"| `--{flag}` | `VITDEMO_{variable}` | {default} | {each.metadata['meaning']} |")
    return _page(SETTINGS, rows, "Settings in vitdemo/core/config.py")


def _page(text: str, rows: list[str], source: str) -> str:
    return f"{NOTE.format(source=source)}\n\n{text.format(rows=chr(10).join(rows))}"


if __name__ == "__main__":
    (DOCS / "models.md").write_text(models_page(), "utf-8")
    (DOCS / "settings.md").write_text(settings_page(), "utf-8")
