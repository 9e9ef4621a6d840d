"""What a file is, by its content: each kind that people bring gets a sentence of its own."""

import io
import pickle
import zipfile
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save

from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint.kinds import check_safetensors, is_pickle

PROGRAM = "is a whole program, not weights: save model.state_dict() as SafeTensors."


def torchs(value, **options) -> bytes:
    torch.save(value, buffer := io.BytesIO(), **options)
    return buffer.getvalue()


def scripted() -> bytes:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), buffer := io.BytesIO())
    return buffer.getvalue()


def exported() -> bytes:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), buffer := io.BytesIO())
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def graph() -> bytes:
    node = onnx.helper.make_node("Relu", ["a"], ["b"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "ab"]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])).SerializeToString()


def arrays() -> bytes:
    np.savez(buffer := io.BytesIO(), a=np.ones(2))
    return buffer.getvalue()


WEIGHTS = {"a": torch.ones(2)}
KINDS = {
    "pickle": (
        lambda: torchs(WEIGHTS),
        "is a pickle, which can run code when it is opened: if you trust it, run “python -m vitdemo convert ",
    ),
    "old pickle": (lambda: torchs(WEIGHTS, _use_new_zipfile_serialization=False), "is a pickle, which can run code"),
    "plain pickle": (lambda: pickle.dumps({"a": 1}), "is a pickle, which can run code"),
    "whole module": (lambda: torchs(torch.nn.Linear(2, 2)), PROGRAM),
    "module, plain": (lambda: pickle.dumps(torch.nn.Linear(2, 2)), PROGRAM),
    "TorchScript": (scripted, f"holds a TorchScript model and {PROGRAM}"),
    "torch.export": (exported, f"holds an exported graph and {PROGRAM}"),
    "ONNX": (graph, "is an ONNX graph, not weights: save the PyTorch model's state_dict() as SafeTensors."),
    "GGUF": (lambda: b"GGUF\3\0\0\0" + bytes(99), "is a GGUF file for language models: save"),
    "Keras": (lambda: zipped("config.json", "model.weights.h5"), "is a Keras model: save"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, such as Keras writes: save"),
    "npz": (arrays, "is a NumPy archive: save"),
    "npy": (lambda: b"\x93NUMPY\1\0", "is a NumPy array, not a model: save"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(99), "is compressed: unpack it"),
    "other zip": (lambda: zipped("a.txt"), "is a zip: unpack it"),
    "cut zip": (lambda: torchs(WEIGHTS)[:200], "is a broken zip: download or export it again."),
    "photo": (lambda: b"\xff\xd8\xff\xe0" + bytes(99), "is a photo, not weights: give the model's own file"),
    "LFS pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a pointer of Git LFS"),
}


@cache
def content(kind: str) -> bytes:
    return KINDS[kind][0]()


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "PTH", "onnx", "weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_named_whatever_its_suffix(kind, suffix, tmp_path):
    said = KINDS[kind][1]
    (tmp_path / f"a.{suffix}").write_bytes(content(kind))
    with pytest.raises(UserError) as refused:
        check_safetensors(tmp_path / f"a.{suffix}")
    assert str(refused.value).startswith(f"a.{suffix} {said}")
    assert is_pickle(tmp_path / f"a.{suffix}") == (said.startswith("is a pickle"))


def test_safetensors_come_first(tmp_path):
    """A header's length may begin with the byte of a pickle, 0x80, or of a zip, or of a protobuf."""
    for first in (0x80, 0x50, 0x08, 0x93):
        for length in range(1, 4000):
            data = save(WEIGHTS, {"a": "x" * length})
            if data[0] == first:
                break
        (tmp_path / "a.pth").write_bytes(data)
        check_safetensors(tmp_path / "a.pth")
        assert not is_pickle(tmp_path / "a.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"There is no weights file .*a\.pth: check the path\."):
        check_safetensors(tmp_path / "a.pth")
