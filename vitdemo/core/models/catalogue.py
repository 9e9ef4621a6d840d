"""The catalogue: models that every visitor may choose. Only the operator may choose others."""

from dataclasses import dataclass

from huggingface_hub import try_to_load_from_cache

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, PRECISIONS


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue.

    Attributes:
        name: timm's name with its tag; `demo` for the model that comes with the app.
        title: the model's name in the picker.
        millions: parameters, in millions.
        classes: number of classes; 0 for a feature backbone.
        purpose: what the model is good for.
        size: width and height of its input, in pixels.
        grid: rows and columns of patches.
        prefix: the tokens before the patches.
        licence: of its weights; a key of LICENCES.
    """

    name: str
    title: str
    millions: float
    classes: int
    purpose: str
    size: int = 224
    grid: int = 14
    prefix: str = "CLS"
    licence: str = "apache-2.0"

    @property
    def megabytes(self) -> float:
        """Size of the fp32 weights, in megabytes."""
        return self.millions * 4

    @property
    def terms(self) -> str:
        """Where the licence can be read, if it is the model's own, to be shown before a download; empty for a usual open-source licence."""
        return "" if self.licence in OPEN_SOURCE else LICENCES[self.licence]


LICENCES = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
    "dinov3-license": "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
}
OPEN_SOURCE = ("apache-2.0", "mit")
REGISTERS = "CLS, 4 registers"
CATALOGUE = (
    CatalogueEntry(DEFAULT_MODEL, "ViT-B/16", 86.6, 1000, "the default: accurate, and the model most papers look inside"),
    CatalogueEntry("vit_small_patch16_224.augreg_in21k_ft_in1k", "ViT-S/16", 22.1, 1000, "a quarter of the size for a little accuracy"),
    CatalogueEntry("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "ViT-Ti/16", 5.7, 1000, "the fastest at full patch resolution"),
    CatalogueEntry(
        "vit_large_patch16_224.augreg_in21k_ft_in1k", "ViT-L/16", 304.3, 1000, "24 layers: the most accurate here, best on a GPU"
    ),
    CatalogueEntry(
        "vit_base_patch32_224.augreg_in21k_ft_in1k", "ViT-B/32", 88.2, 1000, "a coarse grid: nearly three times as fast as ViT-B/16", grid=7
    ),
    CatalogueEntry("vit_small_patch32_224.augreg_in21k_ft_in1k", "ViT-S/32", 22.9, 1000, "a coarse grid: the quickest answers", grid=7),
    CatalogueEntry(
        "deit3_small_patch16_224.fb_in22k_ft_in1k", "DeiT III-S/16", 22.1, 1000, "the same shape as ViT-S/16, trained by another recipe"
    ),
    CatalogueEntry(
        "deit3_base_patch16_224.fb_in22k_ft_in1k", "DeiT III-B/16", 86.6, 1000, "the same shape as ViT-B/16, trained by another recipe"
    ),
    CatalogueEntry("vit_base_patch16_224.augreg_in21k", "ViT-B/16 21k", 102.6, 21843, "ImageNet-21k's classes: finer and far more names"),
    CatalogueEntry("vit_small_patch14_dinov2.lvd142m", "DINOv2-S/14", 22.1, 0, "self-supervised features on a fine grid", 518, 37),
    CatalogueEntry("vit_base_patch14_dinov2.lvd142m", "DINOv2-B/14", 86.6, 0, "stronger self-supervised features, slow on a CPU", 518, 37),
    CatalogueEntry(
        "vit_small_patch14_reg4_dinov2.lvd142m",
        "DINOv2-S/14 with registers",
        22.1,
        0,
        "as DINOv2-S, with cleaner attention maps",
        518,
        37,
        REGISTERS,
    ),
    CatalogueEntry(
        "vit_base_patch14_reg4_dinov2.lvd142m",
        "DINOv2-B/14 with registers",
        86.6,
        0,
        "as DINOv2-B, with cleaner attention maps",
        518,
        37,
        REGISTERS,
    ),
    CatalogueEntry("vit_small_patch16_224.dino", "DINO-S/16", 21.7, 0, "self-supervised: attention that outlines objects unasked"),
    CatalogueEntry("vit_base_patch16_224.dino", "DINO-B/16", 85.8, 0, "the larger DINO"),
    CatalogueEntry(
        "vit_small_patch16_dinov3.lvd1689m",
        "DINOv3-S/16",
        21.6,
        0,
        "the features that others are compared with",
        256,
        16,
        REGISTERS,
        "dinov3-license",
    ),
    CatalogueEntry("vit_base_patch16_dinov3.lvd1689m", "DINOv3-B/16", 85.6, 0, "the larger DINOv3", 256, 16, REGISTERS, "dinov3-license"),
    CatalogueEntry(
        "vit_large_patch16_dinov3.sat493m",
        "DINOv3-L/16 satellite",
        303.1,
        0,
        "24 layers of features for satellite photos",
        256,
        16,
        REGISTERS,
        "dinov3-license",
    ),
    CatalogueEntry(
        "vit_base_patch16_siglip_224.v2_webli", "SigLIP 2-B/16", 92.9, 0, "attention pooling: what language models see", prefix="none"
    ),
    CatalogueEntry("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", "CLIP-B/16", 86.6, 1000, "a CLIP that names classes"),
    CatalogueEntry(
        "eva02_small_patch14_336.mim_in22k_ft_in1k",
        "EVA-02-S/14",
        22.1,
        1000,
        "a small, accurate classifier with rotary positions",
        336,
        24,
        licence="mit",
    ),
    CatalogueEntry("beitv2_base_patch16_224.in1k_ft_in22k_in1k", "BEiT v2-B/16", 86.5, 1000, "positions as a bias on the attention"),
    CatalogueEntry("vit_pe_core_base_patch16_224.fb", "Perception Encoder-B/16", 93.7, 0, "Meta's image encoder, with attention pooling"),
    CatalogueEntry(
        "deit_tiny_distilled_patch16_224.fb_in1k", "DeiT-Ti/16 distilled", 5.9, 1000, "two tokens that vote", prefix="CLS, distillation"
    ),
    CatalogueEntry(
        "vit_betwixt_patch16_reg4_gap_256.sbb2_e200_in12k_ft_in1k",
        "ViT-betwixt/16 with registers",
        60.4,
        1000,
        "registers in a classifier without CLS",
        256,
        16,
        "4 registers",
    ),
    CatalogueEntry(DEMO_MODEL, "Demo model", 2.5, 21, "comes with the app and knows 21 drawn things: for looking around without a network"),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry of this name; None where the catalogue has none."""
    return next((entry for entry in CATALOGUE if entry.name == name), None)


def is_here(entry: CatalogueEntry) -> bool:
    """Whether the model's weights are on this machine."""
    return entry.name == DEMO_MODEL or isinstance(try_to_load_from_cache(f"timm/{entry.name}", "model.safetensors"), str)


def split_precision(name: str) -> tuple[str, str]:
    """Return a model's name, and the precision in which it ends, such as `demo@bf16`; empty where it ends in none."""
    plain, at, precision = name.rpartition("@")
    return (plain, precision) if at and precision in PRECISIONS else (name, "")


def title_of(name: str) -> str:
    """Return the title of a model, given the name it was requested by: a catalogue entry's title, else the last part of a path."""
    plain, precision = split_precision(name)
    entry = find(DEFAULT_MODEL if plain == "auto" else plain)
    title = entry.title if entry else plain.removeprefix("local-dir:").rstrip("/").split("/")[-1]
    return with_precision(title, precision)


def with_precision(title: str, precision: str) -> str:
    """Return a model's title, and the precision where it is named."""
    return f"{title} · {precision}" if precision else title
