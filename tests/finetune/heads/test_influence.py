"""Influence in closed form against the product of autograd's gradients, and the photos that an explanation names."""

import torch

from vitdemo.finetune.heads.influence import explain, influence


def gradient(head: torch.nn.Linear, features: torch.Tensor, target: int) -> torch.Tensor:
    loss = torch.nn.functional.cross_entropy(head(features[None]), torch.tensor([target]))
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(head.parameters()))])


def test_it_is_the_product_of_the_gradients():
    torch.manual_seed(0)
    head, features, targets = torch.nn.Linear(6, 4).double(), torch.randn(12, 6).double(), torch.arange(12) % 4
    errors = head(features).softmax(-1).detach() - torch.nn.functional.one_hot(targets, 4)
    found = influence(features, errors, features, errors)
    gradients = torch.stack([gradient(head, row, int(target)) for row, target in zip(features, targets, strict=True)])
    torch.testing.assert_close(found, gradients @ gradients.T, rtol=1e-5, atol=1e-10)
    assert torch.equal(found, found.T)
    assert (found.diagonal() >= 0).all()


def test_photos_of_the_class_speak_for_it_and_the_photo_itself_is_not_named():
    known = torch.tensor([[2.0, 0.0], [2.1, 0.0], [-2.0, 0.0], [-2.1, 0.0]])
    probabilities = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8]])
    names = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]
    (row,) = explain(torch.tensor([[0.7, 0.3]]), known[:1], known, probabilities, torch.tensor([0, 0, 1, 1]), names, [0])
    assert [each["photo"] for each in row["for"]] == ["a2"]
    assert row["against_runner_up"][0]["photo"] == "a2"
    assert "a1" not in str(row)
