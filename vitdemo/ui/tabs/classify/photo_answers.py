"""The model's answer for one photo, with what the page shows beside it. Answers to samples are kept, and cost no visitor model time."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from vitdemo.core.errors import UserError
from vitdemo.ui.components.samples import first_sample, is_sample, note_on
from vitdemo.ui.tabs.attention.sessions import AttentionSessions

if TYPE_CHECKING:  # imported with the first model: the page opens without torch
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.photo import Photo
    from vitdemo.core.photos.preprocessing import Preprocessing
    from vitdemo.ui.tabs.classify.preview import View

MAX_CLASSES = 20  # of an answer, of which the page shows as many as a visitor wants


@dataclass(frozen=True)
class PhotoAnswer:
    """What the page shows of one photo.

    Attributes:
        view: what the model sees of it; of a sample, where the model looks as well.
        answer: what the template needs of the model's answer; None where there is none.
        error: why there is none.
    """

    view: "View"
    answer: dict[str, Any] | None = None
    error: UserError | None = None


class PhotoAnswers:
    """Answers for photos, with those to the samples kept as long as their model."""

    def __init__(self, sessions: AttentionSessions):
        self.store = sessions.store
        self._sessions = sessions
        self._kept: WeakKeyDictionary[Vit, dict[str, PhotoAnswer]] = WeakKeyDictionary()

    def get(self, photo: "Photo", vit: "Vit", preprocessing: "Preprocessing") -> PhotoAnswer:
        """The answer for a photo, kept or computed."""
        if preprocessing != vit.preprocessing or not is_sample(photo.id):
            return self._compute(photo, vit, preprocessing)
        kept = self._kept.setdefault(vit, {})
        if (found := kept.get(photo.id)) is None:
            found = self._compute(photo, vit, preprocessing)
            if found.answer is None:
                return found  # it may pass, and an error that is kept would keep the model by its traceback
            found = self._with_maps(found, photo, vit)
            if found.view.maps:
                kept[photo.id] = found
        return replace(found, answer=found.answer and found.answer | {"name": photo.name})

    def first(self, vit: "Vit") -> PhotoAnswer:
        """The answer to the first sample that suits a model."""
        from vitdemo.core.photos.photo import open_photo

        return self.get(open_photo(first_sample(vit).path, self.store.settings), vit, vit.preprocessing)

    def _compute(self, photo: "Photo", vit: "Vit", preprocessing: "Preprocessing") -> PhotoAnswer:
        from vitdemo.classify.photo import classify_input
        from vitdemo.ui.tabs.classify.preview import view_of

        tensor = preprocessing(photo.image)
        view = view_of(photo.image, tensor, preprocessing, vit)
        try:
            result = classify_input(tensor, vit, self.store.engine, top=MAX_CLASSES)
        except UserError as error:
            return PhotoAnswer(view, error=error)
        first, rival, *_ = [*result.predictions, None, None]
        answer = {
            "predictions": result.predictions,
            "milliseconds": 1000 * result.seconds,
            "notes": [*photo.notes, *note_on(photo.id, vit)],
            "name": photo.name,
            "model": vit.full_title,
            "id": vit.id,
            "unfamiliar": result.unfamiliar,
            "entropy": result.entropy,
            "most": math.log(len(vit.labels)),
            "said": {"first": first, "rival": rival, "photo": photo.id},
        }
        return PhotoAnswer(view, answer)

    def _with_maps(self, found: PhotoAnswer, photo: "Photo", vit: "Vit") -> PhotoAnswer:
        """Add the relevance for the first class up to each layer; nothing where the model's attention can't be read."""
        from vitdemo.attention.methods.gradients import attention_gradient
        from vitdemo.attention.methods.maps import relevances
        from vitdemo.ui.tabs.classify.preview import view_of

        assert found.answer
        if (first := found.answer["said"]["first"]) is None:
            return found
        tensor, engine = vit.preprocessing(photo.image), self.store.engine
        try:
            trace = self._sessions.traces.get(photo, vit, engine)
            heats = relevances(trace, attention_gradient(vit, engine, tensor, first.label.index))
        except UserError:
            return found
        return replace(found, view=view_of(photo.image, tensor, vit.preprocessing, vit, heats))
