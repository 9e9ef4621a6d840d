"""What the page asks of the Attention tab, and how it is answered."""

from dataclasses import dataclass, field
from typing import Any

from vitdemo.ui.server.page_routes import OfSession


@dataclass(frozen=True)
class SearchClasses(OfSession):
    """A part of a class's name, a synset or an index."""

    words: str = ""


@dataclass(frozen=True)
class OfClasses(OfSession):
    """A class, by its index in the logits, and the one that it is held against, if any."""

    target: int = -1
    other: int | None = None


@dataclass(frozen=True)
class OfHead(OfSession):
    """A head, or the fusion of all, as `Question.head`."""

    head: Any = "mean"


@dataclass(frozen=True)
class WithoutHeads(OfSession):
    """Heads to switch off, as [layer, head] pairs."""

    heads: list = field(default_factory=list)


@dataclass(frozen=True)
class OfMap(OfSession):
    """A map, as `Question.parse` reads it."""

    question: dict = field(default_factory=dict)


@dataclass(frozen=True)
class CompareMethods(OfSession):
    """A class of the session's photo, or uploaded files, each with `path` and `name`."""

    target: int | None = None
    files: list = field(default_factory=list)


@dataclass(frozen=True)
class Follow(OfSession):
    """Ask how far the work is, or stop it."""

    stop: bool = False


@dataclass(frozen=True)
class Download(OfMap):
    """A file of one of `downloads.KINDS`; the question has the style in which the page draws the map as well."""

    kind: str = ""


@dataclass
class FoundClasses:
    """Classes that a search has found, the best first, and the number of those left out."""

    classes: list[dict] = field(default_factory=list)
    more: int = 0


@dataclass
class ClassMap:
    """One class, and its map at every layer: (layers, patches) float32 in base64."""

    heats: str
    index: int
    name: str
    probability: float


@dataclass
class Votes:
    """A class's ledger, or that of its difference to another class, in logits.

    Attributes:
        heads: (layers, heads).
        mlps: of each layer.
        embedding, biases, constant: the votes of the token before the first layer, of the biases after the heads, of the classifier.
        total, logit: the sum of all, and the logit that the model gave.
        missing: why this model's votes can't be told apart; the others are empty then.
    """

    target: int
    other: int | None
    heads: list[list[float]] = field(default_factory=list)
    mlps: list[float] = field(default_factory=list)
    embedding: float = 0.0
    biases: float = 0.0
    constant: float = 0.0
    total: float = 0.0
    logit: float = 0.0
    missing: str = ""


@dataclass
class HeadFile:
    """A file with one head's attention at every layer, and where its arrays lie."""

    path: str
    sections: dict


@dataclass
class WithoutSome:
    """A photo's session without some heads, as `answer_data`.

    Attributes:
        moves: the leading classes' probabilities with all heads, and `after` switching some off.
    """

    session: str
    maps: str
    sections: dict
    top: list[dict]
    lens: list[dict]
    firsts: list[list[dict]]
    moves: list[dict]
