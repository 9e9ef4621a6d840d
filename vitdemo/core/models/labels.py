"""The labels of a model's classes: names and meanings."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from timm.data import ImageNetInfo, infer_imagenet_subset

from vitdemo.core.errors import UserError
from vitdemo.core.names import one_spelling


@dataclass(frozen=True)
class Label:
    """One class of a model.

    Attributes:
        index: the class's index in the logits.
        name: the class's name, for people.
        synset: the WordNet id, such as n02123045; empty for classes that are not ImageNet's.
        meaning: the definition; empty where none is known.
    """

    index: int
    name: str
    synset: str = ""
    meaning: str = ""

    @property
    def short(self) -> str:
        """The name for a small place: of ImageNet's synonyms the first, of other names the whole."""
        return self.name.split(",")[0] if self.synset else self.name


def labels_of(num_classes: int, config: dict) -> tuple[Label, ...]:
    """Return the labels of a model with this many classes and this timm pretrained_cfg; none for a feature backbone.

    A bundle has its own names (`label_names`, `label_descriptions`). The names of ImageNet's 1k, 12k, 21k and 22k classes come from timm's
    ImageNetInfo.

    Raises: UserError for names that are not a list.
    """
    names, meanings = config.get("label_names") or [], config.get("label_descriptions") or {}
    if not isinstance(names, list | tuple) or not isinstance(meanings, dict):
        raise UserError("The model's config.json has class names that are no list: export the model again.")
    subset = infer_imagenet_subset({"num_classes": num_classes}) if num_classes else None
    imagenet = _imagenet(subset) if subset else ()
    if names and len(names) == num_classes and list(names) != [label.name for label in imagenet]:
        return tuple(Label(index, str(name), meaning=str(meanings.get(name, ""))) for index, name in enumerate(names))
    return imagenet or tuple(Label(index, f"class {index}") for index in range(num_classes))


class ClassNames:
    """Finds the classes that a folder's name can mean. ImageNet has two classes “crane”.

    Attributes:
        labels: the model's labels by their indices.
    """

    def __init__(self, labels: Iterable[Label]):
        self._exact: dict[str, set[int]] = {}
        self._loose: dict[str, set[int]] = {}
        self.labels = {label.index: label for label in labels}
        alike = Counter(label.short for label in self.labels.values())
        self._titles = {
            label.synset: label.short if alike[label.short] == 1 else f"{label.short} ({label.synset})"
            for label in self.labels.values()
            if label.synset
        }
        for label in self.labels.values():
            self._exact.setdefault(one_spelling(label.name), set()).add(label.index)
            for name in {label.name, *label.name.split(","), label.synset} - {""}:
                self._loose.setdefault(_loosened(name), set()).add(label.index)

    def labels_of(self, name: str) -> tuple[Label, ...]:
        """The labels of the classes that this can mean, in the order of the logits."""
        return tuple(self.labels[index] for index in sorted(self.meant(name)))

    def title(self, folder: str) -> str:
        """A folder's name as people read it: of a WordNet id that the model knows the class's short name, of any other name itself. The id
        follows a name that two classes have, which keeps them apart."""
        return self._titles.get(folder, folder)

    def meant(self, name: str) -> frozenset[int]:
        """The indices of the classes that are called this; else of those of which it is a synonym, the synset, or either in another
        spelling (upper case, underscores or hyphens for spaces). Empty where there are none."""
        return frozenset(self._exact.get(one_spelling(name)) or self._loose.get(_loosened(name)) or ())


def _loosened(name: str) -> str:
    return " ".join(one_spelling(name).replace("_", " ").replace("-", " ").split()).casefold()


def _imagenet(subset: str) -> tuple[Label, ...]:
    info = ImageNetInfo(subset)
    labels = []
    for index, synset in enumerate(info.label_names()):
        name = info.label_name_to_description(synset, detailed=False)
        detailed = info.label_name_to_description(synset, detailed=True)
        labels.append(Label(index, name, synset, detailed.removeprefix(name).removeprefix(": ")))
    return tuple(labels)
