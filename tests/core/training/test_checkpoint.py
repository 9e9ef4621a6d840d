"""A run's state through a file: what comes out is what went in, and half a file is no file."""

import pytest
import torch

from vitdemo.core.errors import UserError
from vitdemo.core.training import checkpoint


def test_there_and_back(tmp_path):
    half = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    state = {"a": {3: [half, {"step": torch.tensor(4.0)}], "b": None}, "list": [1, 2.5, "x", True], "shared": half, "far": float("inf")}
    checkpoint.save(state, tmp_path / "s.safetensors")
    found = checkpoint.load(tmp_path / "s.safetensors")
    assert torch.equal(found["a"][3][0], half)
    assert found["a"][3][1]["step"] == 4
    assert (found["a"]["b"], found["list"], found["far"]) == (None, [1, 2.5, "x", True], float("inf"))
    assert [each.name for each in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    checkpoint.save({"a": torch.ones(2)}, path)
    monkeypatch.setattr(checkpoint, "save_file", lambda *_, **__: (_ for _ in ()).throw(checkpoint.SafetensorError("No space left")))
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save({"a": torch.zeros(2)}, path)
    assert torch.equal(checkpoint.load(path)["a"], torch.ones(2))


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\x02\0\0\0\0\0\0\0{}"])
def test_another_file_is_refused(content, tmp_path):
    (tmp_path / "s.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="remove it to begin again"):
        checkpoint.load(tmp_path / "s.safetensors")
