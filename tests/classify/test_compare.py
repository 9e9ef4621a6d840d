"""Two models on the same photo, against timm's own softmax and a model that is known to be off."""

from dataclasses import replace

import pytest
import torch

from tests.support.pictures import noise
from vitdemo.classify.compare import compare_models


class Shifted:
    """The same model, with one class's logit raised."""

    def __init__(self, vit):
        self.name, self.labels, self.preprocessing, self._vit = "shifted", vit.labels, vit.preprocessing, vit

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        found = self._vit.logits(batch).clone()
        found[:, 3] += 9
        return found


def test_both_answers_and_how_far_apart(vit, engine):
    tensor = vit.preprocessing(noise(320, 240))
    pair = compare_models(vit, Shifted(vit), tensor, engine, top=3)
    with torch.inference_mode():
        expected = vit.module(tensor[None]).softmax(-1)[0]
    assert [each.probability for each in pair.first.predictions] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-5)
    assert [each.label.index for each in pair.first.predictions] == expected.topk(3).indices.tolist()
    assert pair.second.predictions[0].label.index == 3
    assert pair.difference == pytest.approx(9, abs=1e-4)
    assert pair.first.seconds > 0
    assert pair.second.seconds > 0


def test_features_have_no_classes_but_a_similarity(vit, engine):
    bare = replace(vit, labels=())
    pair = compare_models(bare, bare, vit.preprocessing(noise(320, 240)), engine)
    assert (pair.first.predictions, pair.second.predictions) == ([], [])
    assert pair.cosine == pytest.approx(1, abs=1e-6)
    assert pair.difference == pytest.approx(0, abs=1e-5)
