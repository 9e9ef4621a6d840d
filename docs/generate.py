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
from vitdemo.core.inference.precision import MIN_COSINE, MIN_SPEEDUP  # noqa: E402
from vitdemo.core.models.catalogue import CATALOGUE, LICENCES  # noqa: E402

NOTE = "<!-- This page is generated. Change {source}, or the text in docs/generate.py, then run: python docs/generate.py -->"

CHECKS = ("Logits", "Attention", "Gradients", "Tokens", "Embeddings", "Heads off", "Fine-tune", "ONNX")
FAMILIES = {
    "ViT": "ViT, DeiT III, CLIP, DINO, MAE",
    "registers": "DINOv2 with registers",
    "distilled": "DeiT with a distillation token",
    "attention pooling": "SigLIP",
    "no CLS": "ViT-little, I-JEPA, AIMv2",
    "average pooling": "ViT with CLS that averages patches",
    "parallel blocks": "ViT-22B's layout",
    "hybrid": "R26+ViT, MobileCLIP, ViTamin: convolutions before the blocks",
    "EVA-02": "rotary positions, norm inside attention",
    "DINOv3": "rotary positions, registers",
    "Perception Encoder": "rotary positions, attention pooling",
    "RoPE-ViT": "rotary positions of each layer's own",
    "BEiT": "position bias in each layer",
    "BEiT v2": "position bias in each layer",
    "relative positions": "ViT-relpos: position bias, no CLS",
    "shared relative positions": "ViT-srelpos: one position bias for all layers",
    "relative positions, CLS": "ViT-relpos-cls: position bias",
    "NaFlexViT": "any aspect ratio",
    "NaFlexViT, attention pooling": "SigLIP 2 NaFlex",
}

MODELS = """\
# Models

`--model` takes one of these values:

| Value | Model |
|---|---|
| `auto` (the default) | ViT-B/16. The demo model answers if the weights of ViT-B/16 are not on the machine and the hub can't be reached. |
| a name from the catalogue below | that model |
| any other ViT of the [families](#families) below that timm knows | that model, for example `vit_small_patch16_384.augreg_in21k_ft_in1k` |
| `timm/NAME` | the same as `NAME` |
| `OWNER/NAME` or `hf-hub:OWNER/NAME` | the model of a Hugging Face repository, in timm's layout or in [transformers'](#hugging-face), \
for example `google/vit-base-patch16-224` or `facebook/dinov2-small` |
| `local-dir:DIR` | the model in a folder with either layout: `config.json` and `model.safetensors`, or several files and their \
`model.safetensors.index.json` |
| `demo` | the demo model, which comes with the app |

`--checkpoint FILE.safetensors` gives the weights for the named model; then no network is used. Without `--model`, the file is read as
ViT-B/16's. `--labels FILE` gives the names of the named model's classes: [Names of classes](#names-of-classes).

Visitors of the page choose from the catalogue, each visitor for themselves. Only the operator can name other models and folders, and
`--lock-model` keeps every visitor to the operator's model. Weights are read from SafeTensors files only, because opening a pickle can run
code.

## Catalogue

| Model | In the picker | Parameters | Download | Classes | Input | Grid | Prefix tokens | Licence | Good for |
|---|---|---|---|---|---|---|---|---|---|
{rows}

A model with a licence of its own is downloaded only after a visitor has been shown the licence and has accepted it in the header. Where the
owner of a model gives it out on request, the app says where to ask; then set `HF_TOKEN`.

A model with “features” has no classes. Classify shows which part of a photo such a model sees, and says that it gives features. Attention
offers the methods that need no class. Embeddings and Export work as with any other model.

The licence of any other repository stands on the terminal, with its link, before its weights are downloaded, unless it is a usual
open-source one.

Downloads go into Hugging Face's cache and are kept. An interrupted download continues from where it stopped, and the file's hash is checked
when it is complete. [Offline](deploying.md#offline) says how to bring weights to a machine without a network.

## Families

Attention is read, differentiated and switched off where every ViT computes it, at the call of torch's attention kernel, so the classes of a
family don't matter. 478 pretrained names of timm open. `tests/test_families.py` tries each cell of this table on small models with random
weights, beside timm's own model with the same weights. “Yes” means:

- **Logits**: equal to timm's, bit for bit, with and without the reading of attention.
- **Attention**: every layer's and head's map is softmax(q·kᵀ/√d + bias) of the kernel's own queries and keys, to 1e-6.
- **Gradients**: the plain one, of a class by every map, equal to timm's unfused path, bit for bit; by Libra's rules, tokens and biases
  times their gradients add up to the logit at every layer, to 1e-5, and so do the votes of all heads and MLPs.
- **Tokens**: every layer's, equal to timm's `forward_intermediates`; **embeddings**: the vectors pooled from them.
- **Heads off**: as if a head's map were 0 in timm's unfused model.
- **Fine-tune**: the head alone, the last block, and all blocks for an epoch; the result opens here and in timm.
- **ONNX**: with features and attention as outputs, equal to the original.
- **Other sizes**: the model takes image sizes other than its own.

{families}

Without a CLS token, Attention shows what the pooled tokens look at. “Copy as Python” leaves models with attention pooling to the command
line, and where a model has RMS norms, gated MLPs or biases of its own, some maps of a class as well. Models whose heads pass a sigmoid gate
(GenLIP) have no votes by head: the gate depends on the photo, too. A few ViTs make two maps per head in a block (differential attention,
two attention layers side by side): they classify and embed, and
Attention refuses them. What has no attention from every patch to every patch (Swin, Hiera, CaiT, SAM, a ResNet) is refused, and so are the
vision towers of language models.

## Precision

`--precision`, and for each visitor the header's chip, choose in which numbers a model runs. fp32 is the default, and equals timm.

| Precision | What it is |
|---|---|
| `fp32` | the original's numbers |
| `bf16` | weights and activations in bfloat16: half the memory, and faster where the hardware has it: AMX or AVX-512 bf16 \
on a CPU, or a GPU |
| `fp16` | the same in half precision, for GPUs; on a CPU it gains nothing, and a sentence says so. Only the operator may choose it |
| `auto` | bf16 where it is at least {speedup} times as fast as fp32 and the features' cosine is at least {cosine}; else fp32. \
Eight bundled pictures are run in both, once for a model, a release of torch and a machine; what was measured is kept in `--cache-dir` \
and said with both figures |

In every precision the head and the logits, rotary positions, and the sums in norms and softmax are fp32; on a CPU the weights of layer
norms are, too. Attention is softmax in fp32 of the queries and keys in the model's precision, so that its rows sum to 1. Gradients
(relevance, FullGrad+, votes) are computed in fp32 with the rounded weights, by a copy that lasts as long. Vectors and answers are cached
under their precision, and a second precision of a loaded model counts in `--model-cache-mb`. With Ray, the machine that gives the command
decides for all workers. Fine-tuning and export read fp32 weights.

## Checkpoints

The content of a file decides what it is, and not its suffix. What was done to make a checkpoint fit stands on the terminal and in the
header's chip.

| A file with | What happens |
|---|---|
| timm's names, in fp32, fp16, bf16 or fp64 | opens, computed in the app's precision |
| a prefix before the names (`module.`, `_orig_mod.`, `model.`, `net.`, `backbone.`, `teacher.backbone.` and others) | opens: the \
prefix comes off and is named, if four fifths of the tensors have it |
| averaged weights beside plain ones (`state_dict_ema`, `model_ema`, `teacher`) | the averaged ones are taken, and both are named |
| Hugging Face's or torchvision's names | converted to timm's |
| layer scales, gated layers or registers that the named model's config leaves out, such as UNI 2's | built as the tensors show, and said |
| a head of another size, or none | opens with the file's classes, or as features |
| positions for another grid | resampled, and both grids are named |
| single numbers of a training beside the model, such as `optimizer.step` | left aside and named |
| several parts with a `model.safetensors.index.json` | read by the index; one part alone is refused |
| 8-bit weights, values that are no numbers, a LoRA adapter | refused |
| a pickle (`.pth`, `.pt`, `.bin`, `.ckpt`) | refused: [`convert`](cli.md#convert) makes SafeTensors of it |
| a whole pickled module, TorchScript, ONNX, GGUF, Keras, NumPy | refused by its kind |

## Hugging Face

A folder or repository in transformers' layout is converted to timm's module of the same architecture when it opens; transformers is not
needed. `model_type` in its `config.json` must be one of these. `tests/core/models/huggingface/test_transformers.py` compares each with
transformers' own model with random weights: logits from the same tensor to 1e-5 at two image sizes, pixels with its PIL processor's to
the level, classes and probabilities with its pipeline's.

| `model_type` | What answers |
|---|---|
| `vit`, `deit` | the classifier, of DeiT with a teacher both heads' mean; else CLS after the last norm |
| `dinov2`, `dinov2_with_registers` | the classifier, which reads CLS and the patches' mean side by side; else CLS |
| `dinov3_vit` | CLS |
| `vit_mae` | CLS of the encoder, with no patch masked |
| `ijepa` | the classifier or the patches' mean |
| `beit` | the classifier or the pooled patches |
| `clip`, `clip_vision_model` | the classifier, the projection, or CLS |
| `siglip`, `siglip2`, and their vision models of one size | the classifier or the attention pooling |

Tensors that the image model does not need, such as a text tower, are left aside and named. Positions are resampled once, for the size in
`preprocessor_config.json`, by transformers' own rule; at a size that a visitor chooses they are resampled again by timm's. Preprocessing
follows `preprocessor_config.json` as transformers' PIL processors do: its filters, the shortest edge, and a crop that starts at the whole
pixel below the middle. transformers' default processors differ from its own PIL ones by one or two levels of 255. DINOv3's resizes after
it scales to 0 … 1: up to one level.

A converted model works in every tab. “Copy as Python” needs timm's layout: export it as SafeTensors first. A model with layers that timm's
config has no words for (gated ones that no config names) is exported as ONNX, `pt2` or TorchScript only, and is not fine-tuned. timm has no
word either for a head that reads CLS and the patches' mean, as DINOv2's classifier does and `finetune --features both` makes: its bundle's
`config.json` says `"reads": "cls and mean"`, which this app reads and timm does not.

## Names of classes

A Hugging Face model's classes are called as its `id2label` says, a bundle's as its `label_names`. ImageNet's names are those of timm's
ImageNet models, with a head of their own size. All others are “class 0”, “class 1” and so on, until `--labels FILE` names them:

- a text file with a name a line;
- CSV with a name a row, in the column `label`, `name` or `class`, else in the last; a column `index` or `id` gives the order;
- JSON: a list of names, `{{"0": "cat"}}` or `{{"cat": 0}}`, also under `id2label` or `label_names`.

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
| `VITDEMO_TESTS_COMPILED` | a folder where the tests keep umap's compiled code, so that a second tier does not compile it again |
| `VITDEMO_FUZZ`, `VITDEMO_FUZZ_SEED` | number of rounds (default 200) and seed (default 1) of the tests with hostile input |
"""


def models_page() -> str:
    """The text of docs/models.md, made from the catalogue."""
    rows = [
        f"| `{each.name}` | {each.title} | {each.millions} M | {'none' if each.name == DEMO_MODEL else f'{each.megabytes:,.0f} MB'} | "
        f"{f'{each.classes:,}' if each.classes else 'features'} | {each.size}×{each.size} | {each.grid}×{each.grid} | {each.prefix} | "
        f"[{each.licence}]({LICENCES[each.licence]}) | {each.purpose} |"
        for each in CATALOGUE
    ]
    return _page(
        MODELS,
        rows,
        "CATALOGUE in vitdemo/core/models/catalogue.py",
        families=families_table(),
        speedup=f"{MIN_SPEEDUP:g}",
        cosine=f"{MIN_COSINE:g}",
    )


def families_table() -> str:
    """The table of families: what is in it, timm's class, and a cell for each check of tests/test_families.py."""
    head = f"| Family | Such as | {' | '.join(CHECKS)} | Other sizes |\n|---|---|{'---|' * (len(CHECKS) + 1)}\n"
    return head + "\n".join(
        f"| {family} | {models} | {'yes | ' * len(CHECKS)}{'no, its positions fit one grid' if 'bias' in models else 'yes'} |"
        for family, models in FAMILIES.items()
    )


def settings_page() -> str:
    """The text of docs/settings.md, made from the fields of Settings."""
    rows = []
    for each in fields(Settings):
        flag, variable = each.name.replace("_", "-"), each.name.upper()
        default = "" if each.default is None or each.default is False or each.default == "" else f"`{each.default}`"
        rows.append(f"| `--{flag}` | `VITDEMO_{variable}` | {default} | {each.metadata['meaning']} |")
    return _page(SETTINGS, rows, "Settings in vitdemo/core/config.py")


def _page(text: str, rows: list[str], source: str, **parts: str) -> str:
    return f"{NOTE.format(source=source)}\n\n{text.format(rows=chr(10).join(rows), **parts)}"


if __name__ == "__main__":
    (DOCS / "models.md").write_text(models_page(), "utf-8")
    (DOCS / "settings.md").write_text(settings_page(), "utf-8")
