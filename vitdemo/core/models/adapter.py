"""One view of every family of Vision Transformers that opens: what timm's classes name or keep in different ways has one name here.

The families are VisionTransformer (with registers, a distillation token, attention pooling, or a convolutional stem), Eva (EVA-02, DINOv3,
Perception Encoder), Beit, VisionTransformerRelPos and NaFlexVit. In each, every patch attends to every patch in every block.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.layers import Format, HybridEmbed, PatchEmbed
from timm.models import get_model_args
from timm.models.beit import Beit
from timm.models.eva import Eva, EvaBlockPostNorm
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer
from timm.models.vision_transformer_relpos import ResPostRelPosBlock, VisionTransformerRelPos
from torch.nn.functional import linear

from vitdemo.core.errors import UsageError, UserError

FAMILIES = (VisionTransformer, Eva, Beit, VisionTransformerRelPos, NaFlexVit)
EMBEDS = (PatchEmbed, HybridEmbed)
READS_MEAN_TOO = "cls and mean"
UNREAD = ("qwen3_vit", "deepseek_vit", "gemma4_vit", "convit")  # timm's modules of ViTs that are built in another way


class ClsAndMean(VisionTransformer):
    """A classifier such as DINOv2's: its head reads the CLS token and the mean of the patches side by side."""

    reads_mean_too = True

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """(images, tokens, width) → (images, classes), or the head's input, (images, 2 · width)."""
        x = torch.cat((x[:, 0], x[:, self.num_prefix_tokens :].mean(1)), 1)
        return x if pre_logits else self.head(self.head_drop(x))

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head."""
        self.num_classes = num_classes
        self.head = torch.nn.Linear(2 * self.embed_dim, num_classes) if num_classes else torch.nn.Identity()


def read_mean_too(module: Any) -> None:
    """Turn a ViT into a `ClsAndMean` with a head of its own, on the meta device. Raises: TypeError for another kind of model."""
    if type(module) is not VisionTransformer:
        raise TypeError("only a plain VisionTransformer reads CLS and the mean")
    module.__class__ = ClsAndMean
    with torch.device("meta"):
        module.reset_classifier(module.num_classes)


def build(name: str, **arguments: Any) -> torch.nn.Module:
    """Build timm's architecture without weights, on the meta device, where it takes no memory; it accepts other input sizes if it can.

    Args:
        arguments: the constructor's, in place of the architecture's own.

    Raises: UserError for a model of another kind; whatever timm raises for a name that it can't build.
    """
    with torch.device("meta"):
        try:
            module = timm.create_model(name, pretrained=False, dynamic_img_size=True, **arguments)
        except TypeError:  # the family has no such option
            module = timm.create_model(name, pretrained=False, **arguments)
    if type(module).__module__.removeprefix("timm.models.") in UNREAD:
        raise UsageError(
            f"“{name}” is a ViT whose attention this app can't read, such as a language model's vision tower: choose another ViT."
        )
    if not isinstance(module, FAMILIES) or type(getattr(module, "patch_embed", None)) not in (*EMBEDS, type(None)):
        raise UsageError(f"“{name}” has no attention from every patch to every patch, so there is no map to show: choose a ViT.")
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = True  # type: ignore[assignment]  # whatever TIMM_FUSED_ATTN says: attention is read at the fused kernel's call
    return module


@dataclass(frozen=True)
class Adapter:
    """What the families keep under different names.

    Attributes:
        module: a model of one of FAMILIES.
    """

    module: Any

    @property
    def has_config(self) -> bool:
        """Whether a bundle's config.json can say how the module is built: not where layers have no word there."""
        plain = all(isinstance(value, str | int | float | list | tuple | None) for value in get_model_args(self.module).values())
        return (type(self.module).__module__.startswith("timm.") or isinstance(self.module, ClsAndMean)) and plain

    @property
    def own_words(self) -> dict[str, str]:
        """What a bundle's config.json says of the module that timm has no word for."""
        return {"reads": READS_MEAN_TOO} if isinstance(self.module, ClsAndMean) else {}

    @property
    def embed(self) -> Any:
        """The layer that turns an image into patch tokens."""
        return self.module.embeds if isinstance(self.module, NaFlexVit) else self.module.patch_embed

    @property
    def blocks(self) -> Any:
        """The transformer blocks, first to last."""
        return self.module.blocks

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def heads(self) -> int:
        """Heads per block."""
        return next(part.num_heads for part in self.blocks[0].modules() if hasattr(part, "num_heads"))

    @property
    def head_dim(self) -> int:
        """Numbers that a head gives per token."""
        part = next(part for part in self.blocks[0].modules() if hasattr(part, "num_heads"))
        return getattr(part, "head_dim", self.width // part.num_heads)

    @property
    def width(self) -> int:
        """Numbers in a token."""
        return self.module.embed_dim

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches: CLS, distillation, registers."""
        return self.module.num_prefix_tokens

    @property
    def has_cls(self) -> bool:
        """Whether token 0 is a CLS token."""
        return (self.embed if isinstance(self.module, NaFlexVit) else self.module).cls_token is not None

    @property
    def norms_after(self) -> bool:
        """Whether the branches of a block end with their norms, and do not begin with them."""
        return isinstance(self.blocks[0], ResPostBlock | ResPostRelPosBlock | EvaBlockPostNorm)

    @property
    def pool(self) -> torch.nn.Module | None:
        """The attention pooling, if the model has one."""
        return getattr(self.module, "attn_pool", None)

    @property
    def patch(self) -> tuple[int, int]:
        """Width and height of a patch, in pixels; behind a convolutional stem, the pixels for which one token stands."""
        height, width = self.embed.feat_ratio(as_scalar=False)
        return width, height

    @property
    def only_size(self) -> tuple[int, int] | None:
        """(height, width) of the only inputs that the model takes, as its relative positions fit one grid; None where it takes others."""
        return self.own_size if isinstance(self.module, Beit | VisionTransformerRelPos) else None

    @property
    def own_size(self) -> tuple[int, int] | None:
        """(height, width) of the inputs that the position tables were made for; None where they fit every size."""
        return getattr(self.embed, "img_size", None)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of patches of an input of this (height, width). Raises: UserError for a size that the model does not take."""
        if self.only_size not in (None, tuple(size)):
            height, width = self.only_size
            raise UserError(f"This model takes {width}×{height} pixels only, which its relative positions fit: leave the image size alone.")
        rows, columns = self.embed.dynamic_feat_size(size)
        return rows, columns

    def tokens(self, size: tuple[int, int]) -> int:
        """Number of tokens of an input of this (height, width). Raises: as `grid`."""
        rows, columns = self.grid(size)
        return self.prefix + rows * columns

    def readout(self, tokens: int) -> torch.Tensor:
        """The share of each token in the head's input, (tokens,): CLS alone, or the average; zeros where attention pooling decides."""
        readout = torch.zeros(tokens)
        if self.pool is None and self.has_cls and self.module.global_pool in ("token", ""):
            readout[0] = 1
            if getattr(self.module, "reads_mean_too", False):
                readout[0] = 0.5
                readout[self.prefix :] = 0.5 / (tokens - self.prefix)
        elif self.pool is None:
            pooled = readout[0 if getattr(self.module, "pool_include_prefix", False) else self.prefix :]
            pooled += 1 / len(pooled)
        return readout

    def intermediates(self, images: torch.Tensor, layers: list[int] | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Run the blocks: (images, 3, height, width) → the head's input and each layer's output, all (images, tokens, width).

        Args:
            layers: which layers to return, from 0; later blocks are not run, and the first result is not the head's input.
        """
        final, outputs = self.module.forward_intermediates(
            images, layers, return_prefix_tokens=self.prefix > 0, stop_early=layers is not None, output_fmt="NLC"
        )
        return final, [torch.cat((prefix, patches), 1) for patches, prefix in outputs] if self.prefix else outputs

    def heads_output(self, block: Any, heads: torch.Tensor) -> torch.Tensor:
        """What a block adds to its tokens for these outputs of its heads, side by side: (images, tokens, heads · head_dim) → (…, width).

        A bias that heads and MLP share is left out. Raises: UserError where the outputs pass a gate, which the heads don't know.
        """
        if isinstance(block, ParallelScalingBlock):
            if block.attn_out_proj is None:
                return block.ls(linear(heads, block.out_proj.weight[:, : heads.shape[-1]]))
            return block.ls(block.attn_out_proj(heads))
        if getattr(block.attn, "gate", None) is not None:
            raise UserError("The heads of this model pass a gate, so their votes can't be told apart: choose the method relevance.")
        out = block.attn.proj(getattr(block.attn, "norm", torch.nn.Identity())(heads))
        if self.norms_after:
            return block.norm1(out)
        if (scale := getattr(block, "gamma_1", None)) is not None:
            return scale * out
        return getattr(block, "ls1", torch.nn.Identity())(out)

    def after(self, count: int) -> Iterator[torch.nn.Module]:
        """The last `count` blocks, and the layers after them."""
        yield from self.blocks[self.layers - count :]
        for name in ("norm", "fc_norm", "attn_pool", "head", "head_dist"):
            if part := getattr(self.module, name, None):
                yield part

    def fix_size(self) -> None:
        """Fix the input size, as timm does by default: exporters would write the resampling of the position embedding into the graph."""
        if isinstance(self.module, VisionTransformer):
            self.module.dynamic_img_size = False  # type: ignore[misc]  # Final in timm, for TorchScript's compiler alone
            self.embed.flatten, self.embed.output_fmt, self.embed.strict_img_size = True, Format.NCHW, True

    @property
    def fixed_size(self) -> dict[str, bool]:
        """The constructor arguments, for a config, with which timm builds the model for its own input size."""
        return {"dynamic_img_size": False} if hasattr(self.module, "dynamic_img_size") else {}

    def converted(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights under the names of this family, and resampled to its own position tables, by timm's converter."""
        family = next(kind for kind in type(self.module).__mro__ if kind.__module__.startswith("timm."))
        return sys.modules[family.__module__].checkpoint_filter_fn(state, self.module)
