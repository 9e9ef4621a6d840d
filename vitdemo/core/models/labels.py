"""The labels of a model's classes: names and meanings."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from timm.data import ImageNetInfo, infer_imagenet_subset

from vitdemo.core.errors import UsageError, UserError
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


def named_classes(names: Sequence[str], classes: int) -> tuple[Label, ...]:
    """Return labels with these names, or “class 0” and so on where there are none. Names that are ImageNet's bring its synsets."""
    return labels_of(classes, {"label_names": names}) if names else tuple(Label(index, f"class {index}") for index in range(classes))


def read_labels(path: Path, classes: int) -> tuple[Label, ...]:
    """Read the names of a model's classes from a file, in the order of the logits.

    A text file has a name a line. A CSV has a name a row, in the column `label`, `name` or `class` if there is one, else in the last, and a
    column `index` or `id` gives the order. JSON holds a list of names, or an object such as {"0": "cat"} or {"cat": 0}, which may stand
    under `id2label` or `label_names`.

    Raises: UserError for a file that can't be read, and where there is not one name for each class.
    """
    if not classes:
        raise UsageError("This model gives features, so it has no classes to name: leave --labels out.")
    try:
        text = path.read_text("utf-8-sig")
        reader = {".json": _names_in_json, ".csv": _names_in_csv}.get(path.suffix.lower(), _names_in_text)
        names = reader(text)
    except (OSError, UnicodeDecodeError, RecursionError, csv.Error, ValueError, TypeError, KeyError):
        raise UsageError(f"The names of classes in {path} can't be read: give a text file with a name a line, JSON or CSV.") from None
    if len(names) != classes:
        raise UsageError(f"{path.name} names {len(names):,} classes, and the model has {classes:,}: give one name for each.")
    return named_classes(names, classes)


def _names_in_text(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names_in_csv(text: str) -> list[str]:
    rows = [row for row in csv.reader(text.splitlines()) if any(row)]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((head.index(word) for word in ("label", "name", "class", "label_name", "class_name") if word in head), None)
    order = next((head.index(word) for word in ("index", "id", "class_id") if word in head), None)
    rows = rows[1:] if column is not None or order is not None else rows
    if any(len(row) <= max(column or 0, order or 0) for row in rows):
        raise ValueError("a row is cut")
    if order is not None:
        return _in_order({row[order]: row[-1 if column is None else column].strip() for row in rows}, len(rows))
    return [row[-1 if column is None else column].strip() for row in rows]


def _names_in_json(text: str) -> list[str]:
    value = json.loads(text)
    if isinstance(value, dict):
        value = value.get("id2label") or value.get("label_names") or value
    if isinstance(value, dict):
        turned = all(isinstance(index, int) for index in value.values())  # {"cat": 0}
        return _in_order({index: name for name, index in value.items()} if turned else value, len(value))
    if not isinstance(value, list) or not all(isinstance(name, str | int | float) for name in value):
        raise ValueError("no list of names")
    return [str(name) for name in value]


def _in_order(names: dict, count: int) -> list[str]:
    """The names in the order of their indices, which must be 0, 1, 2 … without a gap. Raises: ValueError, KeyError where they are not."""
    if not all(isinstance(name, str | int | float) for name in names.values()):
        raise ValueError("no names")
    by_index = {int(index): str(name) for index, name in names.items()}
    return [by_index[index] for index in range(count)]


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
