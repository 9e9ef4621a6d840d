"""`convert`: what a pickle holds besides tensors is never run, and its process can reach nothing."""

import argparse
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from tests.support.apps import ROOT
from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint import pickles
from vitdemo.core.models.checkpoint.command import convert


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return timm.create_model("vit_tiny_patch16_224", depth=1, embed_dim=48, num_heads=3).state_dict()


def read(what, path: Path, **options) -> tuple[dict[str, torch.Tensor], list[str]]:
    """What is read of a value that torch has pickled."""
    torch.save(what, path, **options)
    with path.open("rb") as file:
        return pickles.read(file, path.name)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict(state, zipped, tmp_path):
    found, notes = read(state, tmp_path / "a.safetensors", _use_new_zipfile_serialization=zipped)  # whatever it is called
    assert notes == []
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_timms_training_script(state, tmp_path):
    """It keeps its flags in an argparse.Namespace, and averaged weights beside the plain ones."""
    ema = {f"module.{name}": value + 1 for name, value in state.items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    whole = {"epoch": 3, "arch": "x", "state_dict": state, "state_dict_ema": ema, "optimizer": optimizer}
    found, notes = read(whole | {"args": argparse.Namespace(lr=0.1), "amp_scaler": {"scale": torch.ones(1)}}, tmp_path / "a.pth.tar")
    assert torch.equal(found["norm.weight"], state["norm.weight"] + 1)
    assert notes == ["Took the averaged weights, “state_dict_ema.module.”, and left the others, “state_dict.”."]


def test_lightnings_checkpoint(state, tmp_path):
    whole = {"state_dict": {f"model.{name}": value for name, value in state.items()}, "global_step": 9, "optimizer_states": [{}]}
    found, notes = read(whole | {"rng_state": torch.zeros(9, dtype=torch.uint8), "callbacks": {"best": torch.ones(1)}}, tmp_path / "a.ckpt")
    assert found.keys() == state.keys()
    assert notes == ["Took “state_dict.model.” off the tensors' names."]


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: {"a": Trap(path)}, r"[a-z]+\.system"),
        (lambda path: {"a": torch.ones(1), "b": np.float64(3)}, r"numpy\S+"),
        (lambda path: torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        (lambda path: {"a": Path("x")}, r"pathlib\.\w+"),
    ],
)
def test_more_than_tensors(make, named, tmp_path):
    with pytest.raises(UserError) as refused:
        read(make(tmp_path / "sprung"), tmp_path / "a.pth")
    sentence = (
        rf"a\.pth holds more than tensors \({named}\), and opening that would run code: save model\.state_dict\(\) alone, as SafeTensors\."
    )
    assert re.fullmatch(sentence, str(refused.value))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("what", [[torch.ones(1)], torch.ones(1)[0].item(), {"a": 3}, {3: torch.ones(1)}])
def test_no_named_tensors(what, tmp_path):
    with pytest.raises(UserError, match=r"a\.pth holds no named tensors: save model\.state_dict\(\)\."):
        read(what, tmp_path / "a.pth")


def test_sparse_and_8_bit_tensors(tmp_path):
    with pytest.raises(UserError, match="a is sparse or quantised"):
        read({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="holds 8-bit weights without their scales"):
        read({"a": torch.ones(3, dtype=torch.int8)}, tmp_path / "a.pth")


def test_a_cut_file(state, tmp_path):
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:5000])
    with (tmp_path / "a.pth").open("rb") as file, pytest.raises(UserError, match=r"a\.pth (is broken|holds more)"):
        pickles.read(file, "a.pth")


def test_what_is_no_pickle(state, tmp_path):
    from tests.support.layouts import save

    with pytest.raises(UserError, match=r"There is no file .*gone\.pth"):
        convert(tmp_path / "gone.pth", tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"a\.pth is no pickle, so there is nothing to convert"):
        convert(save(state, tmp_path / "a.pth"), tmp_path / "b.safetensors")
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(99))
    with pytest.raises(UserError, match=r"a\.gguf is a GGUF file"):
        convert(tmp_path / "a.gguf", tmp_path / "b.safetensors")


@pytest.mark.app
def test_the_command(state, tmp_path, capsys):
    from vitdemo.cli import main

    torch.save({"model": state}, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.pth")]) == 2
    assert main(["convert", str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.safetensors")]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Took “model.” off the tensors' names.",
        f"{len(state)} tensors in {tmp_path / 'b.safetensors'}.",
    ]
    found = load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert {each.name for each in tmp_path.iterdir()} == {"a.pth", "b.safetensors"}


INSIDE = """
import os, sys
from pathlib import Path
from vitdemo.core.models.checkpoint import pickles, pickle_program
def ask(file, name):
    {code}
    return {{}}, []
pickles.read = ask
pickle_program.main(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.app
@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import socket; socket.socket()", "socket.__new__"),
        ("os.system('true')", "os.system"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("open(sys.argv[2] + 'x', 'w')", "open"),
        ("os.open(sys.argv[2] + 'x', os.O_WRONLY | os.O_CREAT)", "open"),
        ("os.remove(sys.argv[1])", "os.remove"),
    ],
)
def test_a_pickle_that_got_through_would_reach_nothing(code, event, tmp_path):
    """The process ends at the first thing that reading tensors does not need."""
    (tmp_path / "a.pth").write_bytes(b"")
    command = [sys.executable, "-c", INSIDE.format(code=code), str(tmp_path / "a.pth"), str(tmp_path / "b")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"the file asked for {event}\n"
    assert {each.name for each in tmp_path.iterdir()} == {"a.pth", "b"}


def test_its_environment_has_no_tokens(tmp_path, monkeypatch):
    seen = {}

    def run(command, *, env, **options):
        seen.update(env)
        return subprocess.CompletedProcess(command, 1, "", "")

    torch.save({}, tmp_path / "a.pth")
    for name in ("HF_TOKEN", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "VITDEMO_AUTH"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match="could not be converted"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert "secret" not in seen.values()
    assert seen["HOME"] != os.environ.get("HOME")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.app
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has networks of a process's own")
def test_its_network_is_empty():
    leave = "from vitdemo.core.models.checkpoint.pickle_program import leave_network; leave_network()"
    code = f"import socket; {leave}; print(socket.if_nameindex())"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0
    if os.geteuid() == 0:
        assert found.stdout.strip() == "[(1, 'lo')]"
    assert socket.if_nameindex()  # this process keeps its own


def test_paths_may_be_relative_and_folders_missing(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "a.pth")
    monkeypatch.chdir(tmp_path)
    convert(Path("a.pth"), Path("a.safetensors"))
    convert(Path("a.pth"), Path("new", "folder", "a.safetensors"))
    for made in ("a.safetensors", "new/folder/a.safetensors"):
        assert load_file(tmp_path / made).keys() == state.keys()
