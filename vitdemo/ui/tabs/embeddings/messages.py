"""What the page asks of the Embeddings tab, and how it is answered."""

from dataclasses import dataclass, field
from typing import Any

from vitdemo.ui.components.gallery_upload import GalleryStatus, OfGallery


@dataclass(frozen=True)
class OfMap(OfGallery):
    """A map of a gallery: layer, pooling and UMAP's settings, as `page_data.key_of` reads them."""

    layer: Any = None
    pool: Any = None
    dimensions: Any = None
    neighbours: Any = None
    min_dist: Any = None
    metric: Any = None
    seed: Any = None


@dataclass(frozen=True)
class OfPhoto(OfMap):
    """A photo on a map, by its number in the gallery."""

    id: int = -1


@dataclass(frozen=True)
class OfPatches(OfGallery):
    """The patches of some photos in a layer; row and column name a patch of the first photo."""

    ids: list = field(default_factory=list)
    layer: Any = None
    row: Any = None
    column: Any = None


@dataclass(frozen=True)
class OfPart(OfGallery):
    """A part of a gallery in a layer, by its number."""

    layer: Any = None
    part: Any = None


@dataclass(frozen=True)
class Download(OfMap):
    """A file of one of `downloads.KINDS`, of the photos with these numbers, or of all."""

    kind: str = ""
    ids: list | None = None


@dataclass(frozen=True)
class AddClass(OfGallery):
    """Photos by their numbers, the name of their class, the visitor's fine-tuning session, and whether a new one may take its place."""

    ids: list = field(default_factory=list)
    label: str = ""
    session: str | None = None
    anew: bool = False


@dataclass(frozen=True)
class OfKeptMap:
    """A map of a large collection, by its number in the operator's list."""

    number: int = -1


@dataclass
class EmbeddingStatus(GalleryStatus):
    """How far a gallery is.

    Attributes, at the end:
        errors: name and reason of unreadable photos.
        layers, pools: of the vectors.
        photos: the files with the photos' rows and thumbnails; None without vectors.
    """

    errors: list[dict] = field(default_factory=list)
    layers: tuple = ()
    pools: tuple = ()
    photos: dict | None = None


@dataclass
class MapAnswer:
    """A finished map, or how far it is: what is being done, the done share of it, and the seconds left."""

    map: dict | None = None
    text: str = ""
    share: float | None = None
    left: float | None = None


@dataclass
class Scores:
    """Each layer's scores that are known so far, and whether these are all."""

    scores: list[dict]
    complete: bool


@dataclass
class OpenedPhoto:
    """A photo at a readable size.

    Attributes:
        photo, crop: paths of JPEGs: the photo, and the model's crop of it.
        grid: columns and rows of patches.
        neighbours: the nearest photos' numbers and similarities.
        same, almost: numbers of duplicates and near-duplicates.
    """

    name: str
    folder: str
    duplicate: str | None
    photo: str
    crop: str
    grid: tuple[int, int]
    notes: tuple[str, ...]
    predictions: list[dict]
    neighbours: list[dict]
    same: list[int]
    almost: list[int]


@dataclass
class Patches:
    """Numbers for all patches of some photos, in base64; shape is photos, rows, columns.

    Attributes:
        colours, foreground: of a PCA: three bytes, and one.
        heats: of a similarity: float32.
    """

    shape: tuple[int, ...]
    colours: str = ""
    foreground: str = ""
    heats: str = ""


@dataclass
class PartsAnswer(Patches):
    """The part of each patch, or how far the search is.

    Attributes:
        share: of the search that is done, 0 … 1.
        parts: one byte a patch, in base64; empty until the search is over.
        photos: of each part, the share of the photos in which it occurs.
        artefacts: the parts most of whose patches lie in the corners.
        looked: photos whose patches were grouped.
    """

    share: float = 0.0
    parts: str = ""
    photos: list[float] = field(default_factory=list)
    artefacts: list[int] = field(default_factory=list)
    looked: int = 0


@dataclass
class NearestPatches:
    """The patches nearest to a part's centre: photo's `id`, `row` and `column`; one a photo."""

    patches: list[dict]


@dataclass
class PictureName:
    """The name of a picture of a map, without its suffix."""

    name: str


@dataclass
class AddedClass:
    """The fine-tuning session and its number of classes; or a warning of what would be replaced."""

    session: str = ""
    classes: int = 0
    warning: str = ""


@dataclass
class KeptMap:
    """A map's whole page."""

    page: str
