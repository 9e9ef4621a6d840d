"""“Copy as Python”: a photo's top classes in plain timm and torch, which run without this project."""

from vitdemo.core.models.snippet import image_lines, imports, model_line
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing


def snippet(
    vit: Vit, preprocessing: Preprocessing, *, photo: str = "photo.jpg", bundle: bool = False, checkpoint: str = "", top: int = 5
) -> str:
    """Write Python code that ends with `top`, the probabilities and indices of the leading classes, and prints them with their names.

    Args:
        photo: the photo's file name, as the code opens it.
        bundle, checkpoint: as `model_line`.
    """
    if vit.labels[0].synset:
        names = "timm.data.ImageNetInfo(timm.data.infer_imagenet_subset(model)).index_to_description"
    else:
        names = f"(model.pretrained_cfg.get('label_names') or range({len(vit.labels)})).__getitem__"
    lines = [
        *imports(preprocessing, photo),
        "",
        model_line(vit, preprocessing, bundle=bundle, checkpoint=checkpoint),
        *image_lines(vit, preprocessing, photo),
        "with torch.inference_mode():",
        f"    top = model(image)[0].softmax(-1).topk({min(top, len(vit.labels))})",
        f"name = {names}",
        "for probability, index in zip(top.values.tolist(), top.indices.tolist()):",
        "    print(f'{probability:.1%}', name(index))",
    ]
    return "\n".join(lines) + "\n"
