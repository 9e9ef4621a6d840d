"""The top classes of one photo."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from PIL import Image

from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.predictions import Prediction, top_classes
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing


@dataclass(frozen=True)
class Classification:
    """The top classes of one photo.

    Attributes:
        predictions: the top classes, most probable first; none where the model refuses an unfamiliar photo.
        seconds: how long the model took.
        entropy: of the probabilities of all classes, in nats.
        unfamiliar: whether the photo is unlike the model's training photos (out of distribution); None where the model can't tell.
    """

    predictions: list[Prediction]
    seconds: float
    entropy: float
    unfamiliar: bool | None = None


def check_classes(vit: Vit) -> None:
    """Check that the model has classes. Raises: UserError for a feature backbone, which has none."""
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes: choose another model to classify with.")


def classify(image: Image.Image, vit: Vit, engine: Engine, *, preprocessing: Preprocessing | None = None, top: int = 5) -> Classification:
    """Classify one upright RGB photo.

    Args:
        preprocessing: replaces the model's own preprocessing.
        top: how many classes to return.

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    return classify_input((preprocessing or vit.preprocessing)(image), vit, engine, top=top)


def classify_input(tensor: torch.Tensor, vit: Vit, engine: Engine, *, top: int = 5) -> Classification:
    """Classify one model input, (3, height, width).

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    if vit.ood is None:
        logits, seconds = engine.logits(vit, tensor[None])  # (1, classes)
        outputs: tuple[torch.Tensor, ...] = (logits,)
    else:
        logits, features, seconds = engine.logits_and_features(vit, tensor[None])
        outputs = logits, features
    ((predictions, unfamiliar),) = predict(vit, outputs, top)
    assert predictions is not None  # the engine has checked these logits
    entropy = torch.special.entr(logits[0].softmax(-1)).sum().item()
    return Classification(predictions, seconds, entropy, unfamiliar)


def network_of(vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    """Return the function from images to what `predict` needs: (logits,), and the features where the model knows what is unfamiliar."""
    return vit.logits_and_features if vit.ood else lambda images: (vit.logits(images),)


def predict(vit: Vit, outputs: tuple[torch.Tensor, ...], top: int) -> Iterator[tuple[list[Prediction] | None, bool | None]]:
    """Yield each photo's top classes, None where its logits are not finite, and whether it is unfamiliar, as in a `Classification`.

    Args:
        outputs: of `network_of(vit)`, (photos, …) each.
    """
    logits, *features = outputs
    detector = vit.ood if features else None
    unfamiliar = (detector.distance(features[0]) > detector.limit).tolist() if detector else [None] * len(logits)
    for row, strange in zip(logits, unfamiliar, strict=True):
        if not row.isfinite().all():
            yield None, None
        else:
            yield [] if strange and detector and detector.refuses else top_classes(row, vit.labels, top), strange
