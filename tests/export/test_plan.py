"""What can be asked for, and what is refused before any work."""

import pytest

from vitdemo.core.errors import UsageError
from vitdemo.export.plan import FILES, KITS, PRECISIONS, Plan


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"format": "caffe"}, "There is no format “caffe”: choose safetensors, onnx, torchscript, pt2."),
        ({"format": "onnx", "precision": "int4"}, "There is no precision “int4”: choose fp32, fp16, int8."),
        ({"format": "onnx", "prefer": "best"}, "There is no choice “best”: choose fastest, smallest."),
        ({"format": "onnx", "extras": ("tokens",)}, "There is no output “tokens”: choose features, attention."),
        ({"format": "onnx", "kits": ("flask",)}, "There is no serving kit “flask”: choose fastapi, triton, kserve, ray, torchserve."),
        ({"format": "pt2", "kits": ("triton",)}, "triton serves onnx, not pt2: choose the format onnx"),
        ({"format": "onnx", "kits": ("torchserve",)}, "torchserve serves torchscript, not onnx"),
        ({"format": "pt2", "precision": "int8"}, "int8 is made for ONNX, not for pt2"),
        ({"format": "safetensors", "baked": True}, "SafeTensors hold weights, not a graph"),
        ({"format": "safetensors", "extras": ("features",)}, "SafeTensors hold weights, not a graph"),
    ],
)
def test_what_can_not_go_together(asked, sentence):
    with pytest.raises(UsageError) as error:
        Plan(**asked)
    assert str(error.value).startswith(sentence)


def test_what_can():
    for format, file in FILES.items():
        kits = tuple(kit for kit, served in KITS.items() if served == format)
        assert Plan(format, "fp16", kits=kits).file == file


def test_expected_size_falls_with_precision():
    sizes = [Plan("onnx", precision).expected_bytes(1_000_000) for precision in PRECISIONS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 4_000_000
