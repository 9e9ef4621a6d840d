"""`--precision auto`: what is measured, what is taken and said, and that a machine is asked once."""

import json
import platform

import pytest
import torch

from tests.support.small_vits import images, small_vit
from vitdemo.core.config import Settings
from vitdemo.core.inference import precision
from vitdemo.core.inference.precision import Measurement, chosen, has_fast_bf16, measure, slow_on

CPU = torch.device("cpu")


@pytest.fixture
def fast(monkeypatch):
    """A machine whose bf16 is fast, as far as its processor says."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)


@pytest.mark.parametrize(
    ("speedup", "cosine", "taken"),
    [(2.6, 0.9998, "bf16"), (1.3, 0.999, "bf16"), (1.29, 0.9998, "fp32"), (2.6, 0.9989, "fp32")],
)
def test_bf16_is_taken_where_it_is_faster_and_alike(speedup, cosine, taken):
    measured = Measurement(speedup, cosine)
    assert measured.precision == taken
    assert measured.sentence.startswith(f"Precision auto took {taken}: ")
    assert f"{speedup:.2f} times" in measured.sentence
    assert f"{cosine:.5f}" in measured.sentence


@pytest.mark.parametrize(("tiles", "vectors", "fast"), [(True, False, True), (False, True, True), (False, False, False)])
def test_a_processor_is_asked_by_torch(tiles, vectors, fast, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    assert has_fast_bf16(CPU) is fast
    assert bool(slow_on(CPU, "bf16")) == bool(slow_on(CPU, "auto")) == (not fast)
    assert slow_on(CPU, "fp32") == ""
    assert slow_on(CPU, "fp16").startswith("fp16 gains nothing on a processor")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert has_fast_bf16(CPU) is None  # a measurement tells
    assert slow_on(CPU, "auto") == ""


def test_a_gpu_without_bf16_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    gpu = torch.device("cuda")
    assert (slow_on(gpu, "fp32"), slow_on(gpu, "fp16")) == ("", "")
    assert slow_on(gpu, "bf16") == slow_on(gpu, "auto")
    assert slow_on(gpu, "auto").startswith("This GPU has no bf16 of its own")


def test_both_are_run_on_the_bundled_pictures(engine, settings):
    found = measure(small_vit(), engine, settings)
    assert 0.99 < found.cosine < 1
    assert found.speedup > 0


@pytest.fixture
def measured(monkeypatch) -> list:
    """The measurements that are made: bf16 always pays."""
    made: list = []
    monkeypatch.setattr(precision, "measure", lambda *rest: made.append(rest) or Measurement(2.5, 0.9997))
    return made


def test_a_model_is_measured_once_on_a_machine(fast, measured, engine, tmp_path, monkeypatch):
    settings = Settings(cache_dir=tmp_path)
    for _ in range(2):
        vit = chosen(small_vit(), engine, settings)
        assert (vit.precision, vit.id, vit.notes) == ("bf16", "plain@bf16", (Measurement(2.5, 0.9997).sentence,))
        assert vit.module.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    assert len(measured) == 1
    chosen(small_vit(seed=1), engine, settings)  # other weights
    monkeypatch.setattr(torch, "get_num_threads", lambda: 97)  # another machine
    chosen(small_vit(), engine, settings)
    assert len(measured) == 3


def test_what_can_not_be_read_is_measured_again(fast, measured, engine, tmp_path):
    settings = Settings(cache_dir=tmp_path)
    chosen(small_vit(), engine, settings)
    (kept,) = (tmp_path / "precision").iterdir()
    for broken in ("", "[]", json.dumps({"speedup": 2.5}), json.dumps({"speedup": "fast", "cosine": 1})):
        kept.write_text(broken)
        assert chosen(small_vit(), engine, settings).precision == "bf16"
    assert len(measured) == 5
    assert json.loads(kept.read_text()) == {"speedup": 2.5, "cosine": 0.9997}


def test_where_bf16_does_not_pay_the_model_stays_as_it_is(fast, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "measure", lambda *rest: Measurement(1.1, 0.9997))
    vit, batch = chosen(small_vit(), engine, Settings(cache_dir=tmp_path)), images()
    assert vit.precision == "fp32"
    assert vit.notes[0].startswith("Precision auto took fp32: on this machine bf16 is 1.10 times as fast")
    with torch.inference_mode():
        assert torch.equal(vit.logits(batch), small_vit().logits(batch))


def test_a_machine_without_fast_bf16_is_not_measured(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    vit = chosen(small_vit(), engine, Settings(cache_dir=tmp_path))
    assert vit.precision == "fp32"
    assert vit.notes[0].startswith("Precision auto took fp32. This machine has no fast bf16")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_is_no_reason_to_fail(fast, measured, engine, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert chosen(small_vit(), engine, Settings(cache_dir=tmp_path / "file")).precision == "bf16"
    assert "can't be kept" in caplog.text
