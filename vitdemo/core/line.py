"""Work that waits for the model, and which pieces of it may run as one."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(eq=False)
class Piece:
    """Work that waits.

    Attributes:
        kind: pieces of the same kind may run together; None for one that runs alone.
        batch: of one that may run with others.
        together: runs several of the kind.
    """

    work: Callable[[], Any]
    kind: tuple | None = None
    batch: torch.Tensor | None = None
    together: "Callable[[list[Piece]], list] | None" = None
    future: Future = field(default_factory=Future)
    handed_in: float = field(default_factory=time.perf_counter)


class Line:
    """Pieces in the order in which they came."""

    def __init__(self):
        self._pieces: list[Piece] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._pieces)

    def join(self, piece: Piece) -> Future:
        with self._changed:
            self._pieces.append(piece)
            self._changed.notify()
        return piece.future

    def wait(self) -> None:
        """Until there is a piece. Of several threads that wait, one may find that another has taken it."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces)

    def take(self, most: int) -> list[Piece]:
        """The first piece, with those that may run with it, up to so many images."""
        with self._changed:
            if not self._pieces:
                return []
            taken = [self._pieces.pop(0)]
            if taken[0].kind:
                images = len(taken[0].batch)
                for each in [each for each in self._pieces if each.kind == taken[0].kind]:
                    if (images := images + len(each.batch)) > most:
                        break
                    self._pieces.remove(each)
                    taken.append(each)
            return taken


def answers_of(pieces: list[Piece]) -> list[tuple[Any, BaseException | None]]:
    """What each piece gave, or its error. What fails together is tried apart, so that one fault stays its own."""
    if len(pieces) > 1:
        try:
            return [(result, None) for result in pieces[0].together(pieces)]
        except Exception:
            return [answer for each in pieces for answer in answers_of([each])]
    try:
        return [(each.work(), None) for each in pieces]
    except BaseException as error:
        return [(None, error)]
