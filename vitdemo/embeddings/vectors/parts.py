"""Parts: kinds of patches that recur across a gallery, such as fur, eyes or grass, found by k-means of patch tokens."""

from dataclasses import dataclass

import numpy as np

from vitdemo.core.errors import UserError

PARTS = 16
BATCH, STARTS = 2048, 3  # of MiniBatchKMeans: patches per step, and starts of which the best is kept


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a gallery's patches.

    Attributes:
        centres: (parts, width), in the space of `normed` tokens.
        labels: (photos, patches), each patch's part.
        distances: (photos, patches), how far each patch lies from the centre of its part.
    """

    centres: np.ndarray
    labels: np.ndarray
    distances: np.ndarray

    def nearest(self, part: int, count: int = 24, per_photo: int = 2) -> list[tuple[int, int]]:
        """The patches nearest to a part's centre, as (photo, patch), at most so many of one photo.

        Raises: UserError for a part that does not exist.
        """
        if not 0 <= part < len(self.centres):
            raise UserError(f"There is no part {part}: choose one from 0 to {len(self.centres) - 1}.")
        photos, patches = np.nonzero(self.labels == part)
        order = np.argsort(self.distances[photos, patches], kind="stable")
        found: list[tuple[int, int]] = []
        taken = np.zeros(len(self.labels), int)
        for photo, patch in zip(photos[order].tolist(), patches[order].tolist(), strict=True):
            if taken[photo] < per_photo and len(found) < count:
                found.append((photo, patch))
                taken[photo] += 1
        return found

    @property
    def photos(self) -> np.ndarray:
        """(parts,): in how many photos each part occurs."""
        return np.array([(self.labels == part).any(1).sum() for part in range(len(self.centres))])


def find_parts(tokens: np.ndarray, count: int = PARTS, seed: int = 0) -> Parts:
    """Group the patches of a gallery into parts, the most frequent first.

    Args:
        tokens: (photos, patches, width), finite, after one layer.
        count: how many parts; no more than there are patches.

    Raises: UserError for a count below 2, or a gallery with fewer patches than parts.
    """
    from sklearn.cluster import MiniBatchKMeans

    rows = normed(tokens).reshape(-1, tokens.shape[-1])
    if not 2 <= count <= len(rows):
        raise UserError(f"There can be from 2 to {len(rows)} parts; {count} were asked for.")
    means = MiniBatchKMeans(count, batch_size=BATCH, n_init=STARTS, random_state=seed).fit(rows)
    sizes = np.bincount(means.labels_, minlength=count)
    return assign(tokens, means.cluster_centers_[np.argsort(-sizes, kind="stable")])


def assign(tokens: np.ndarray, centres: np.ndarray) -> Parts:
    """Give each patch, (photos, patches, width), the part whose centre, (parts, width), is nearest."""
    labels, distances = np.empty(tokens.shape[:2], np.int64), np.empty(tokens.shape[:2], np.float32)
    for photo, rows in enumerate(tokens):
        squared = ((normed(rows)[:, None] - centres) ** 2).sum(-1)  # (patches, parts)
        labels[photo] = squared.argmin(1)
        distances[photo] = np.sqrt(squared.min(1))
    return Parts(centres, labels, distances)


def normed(tokens: np.ndarray) -> np.ndarray:
    """Tokens, (…, width), with a mean of 0 and a deviation of 1 each: artefacts are thirty times as long as others."""
    tokens = np.asarray(tokens, np.float32)
    centred = tokens - tokens.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True))
    return centred / np.where(deviation, deviation, 1)
