"""The catalogue: models that every visitor may choose. Only the operator may choose others."""

from dataclasses import dataclass

from huggingface_hub import try_to_load_from_cache

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue.

    Attributes:
        name: timm's name with its tag; `demo` for the model that comes with the app.
        title: the model's name in the picker.
        millions: parameters, in millions.
        classes: number of classes; 0 for a feature backbone.
        purpose: what the model is good for.
    """

    name: str
    title: str
    millions: float
    classes: int
    purpose: str

    @property
    def megabytes(self) -> float:
        """Size of the fp32 weights, in megabytes."""
        return self.millions * 4


CATALOGUE = (
    CatalogueEntry(DEFAULT_MODEL, "ViT-B/16", 86.6, 1000, "the default: accurate, and the model most papers look inside"),
    CatalogueEntry("vit_small_patch16_224.augreg_in21k_ft_in1k", "ViT-S/16", 22.1, 1000, "a quarter of the size for a little accuracy"),
    CatalogueEntry("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "ViT-Ti/16", 5.7, 1000, "the fastest at full patch resolution"),
    CatalogueEntry(
        "vit_large_patch16_224.augreg_in21k_ft_in1k", "ViT-L/16", 304.3, 1000, "24 layers: the most accurate here, best on a GPU"
    ),
    CatalogueEntry(
        "vit_base_patch32_224.augreg_in21k_ft_in1k", "ViT-B/32", 88.2, 1000, "a 7×7 grid: nearly three times as fast as ViT-B/16"
    ),
    CatalogueEntry("vit_small_patch32_224.augreg_in21k_ft_in1k", "ViT-S/32", 22.9, 1000, "a 7×7 grid: the quickest answers"),
    CatalogueEntry(
        "deit3_small_patch16_224.fb_in22k_ft_in1k", "DeiT III-S/16", 22.1, 1000, "the same shape as ViT-S/16, trained by another recipe"
    ),
    CatalogueEntry(
        "deit3_base_patch16_224.fb_in22k_ft_in1k", "DeiT III-B/16", 86.6, 1000, "the same shape as ViT-B/16, trained by another recipe"
    ),
    CatalogueEntry("vit_base_patch16_224.augreg_in21k", "ViT-B/16 21k", 102.6, 21843, "ImageNet-21k's classes: finer and far more names"),
    CatalogueEntry("vit_small_patch14_dinov2.lvd142m", "DINOv2-S/14", 22.1, 0, "self-supervised features, a fine 37×37 grid"),
    CatalogueEntry("vit_base_patch14_dinov2.lvd142m", "DINOv2-B/14", 86.6, 0, "stronger self-supervised features, slow on a CPU"),
    CatalogueEntry(
        "vit_small_patch14_reg4_dinov2.lvd142m", "DINOv2-S/14 with registers", 22.1, 0, "as DINOv2-S, with cleaner attention maps"
    ),
    CatalogueEntry(
        "vit_base_patch14_reg4_dinov2.lvd142m", "DINOv2-B/14 with registers", 86.6, 0, "as DINOv2-B, with cleaner attention maps"
    ),
    CatalogueEntry("vit_small_patch16_224.dino", "DINO-S/16", 21.7, 0, "self-supervised: attention that outlines objects unasked"),
    CatalogueEntry("vit_base_patch16_224.dino", "DINO-B/16", 85.8, 0, "the larger DINO"),
    CatalogueEntry(DEMO_MODEL, "Demo model", 2.5, 21, "comes with the app and knows 21 drawn things: for looking around without a network"),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry of this name; None where the catalogue has none."""
    return next((entry for entry in CATALOGUE if entry.name == name), None)


def is_here(entry: CatalogueEntry) -> bool:
    """Whether the model's weights are on this machine."""
    return entry.name == DEMO_MODEL or isinstance(try_to_load_from_cache(f"timm/{entry.name}", "model.safetensors"), str)


def title_of(name: str) -> str:
    """Return the title of a model, given the name it was requested by: a catalogue entry's title, else the last part of a path."""
    entry = find(DEFAULT_MODEL if name == "auto" else name)
    return entry.title if entry else name.removeprefix("local-dir:").rstrip("/").split("/")[-1]
