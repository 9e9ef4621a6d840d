"""The models and photos of benches: as timm makes them, and as this app loads them. Weights are real where `VITDEMO_SHARED` has them."""

from pathlib import Path

TINY, BASE = "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_base_patch16_224.augreg2_in21k_ft_in1k"


def weights_of(model: str) -> Path | None:
    """Return the file of a model's real weights; None where there is none."""
    from vitdemo.core.config import SHARED

    path = SHARED / "weights" / f"{model}.safetensors"
    return path if path.is_file() else None


def weights_note(model: str) -> str:
    """Return what to print behind the model's name."""
    return "" if weights_of(model) else " with random weights"


def network_of(model: str, precision: str = "fp32"):
    """Build timm's own model, ready to answer, with its weights cast to the precision."""
    import timm
    import torch

    from vitdemo.core.models.precision import DTYPES

    torch.manual_seed(0)
    if weights := weights_of(model):
        network = timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": str(weights), "custom_load": False})
    else:
        network = timm.create_model(model, pretrained=False)
    return network.eval().to(DTYPES[precision])


def vit_of(model: str, precision: str = "fp32", device: str = "cpu"):
    """Build this app's Vit from the same model."""
    import torch

    from vitdemo.core.models.labels import labels_of
    from vitdemo.core.models.precision import set_precision
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.preprocessing import Preprocessing

    network, at = network_of(model).requires_grad_(False), torch.device(device)
    preprocessing, parameters = Preprocessing.of(network), sum(parameter.numel() for parameter in network.parameters())
    labels = labels_of(network.num_classes, network.pretrained_cfg)
    module = set_precision(network, precision, at)
    return Vit(model, module, labels, preprocessing, "the bench", at, parameters, precision=precision)


def photos_of(folder: Path | None, *shared: str) -> list:
    """Return the photos of a folder, or of one of the shared ones, as Items. Raises: UserError where there are none."""
    from vitdemo.core.config import SHARED
    from vitdemo.core.errors import UserError
    from vitdemo.core.photos.search import find_items

    folder = folder or SHARED.joinpath("data", *shared)
    items = find_items([folder]) if folder.is_dir() else []
    if not items:
        raise UserError(f"There are no photos in {folder}: set VITDEMO_SHARED, or give --photos DIR.")
    return items


def gigaflops(vit) -> float:
    """Billions of floating-point operations in the matrix products of one photo's pass, a multiplication and an addition counted as two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vit.module(torch.zeros(1, 3, *vit.preprocessing.size, device=vit.device))
    return counter.get_total_flops() / 1e9
