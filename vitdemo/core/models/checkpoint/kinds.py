"""What a weights file is, by its first bytes and never by its suffix. Only SafeTensors is read: every other kind is refused by name."""

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vitdemo.core.errors import UsageError
from vitdemo.core.photos.kinds import holds_photo

PROGRAM = "is a whole program, not weights: save model.state_dict() as SafeTensors."
PICKLE = (
    "is a pickle, which can run code when it is opened: if you trust it, run “python -m vitdemo convert {name} --output "
    "{stem}.safetensors” and give that file."
)
MAGIC = {  # a file's first bytes: what is said of it
    b"GGUF": "is a GGUF file for language models: save model.state_dict() as SafeTensors.",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file, such as Keras writes: save the PyTorch model's state_dict() as SafeTensors.",
    b"\x93NUMPY": "is a NumPy array, not a model: save model.state_dict() as SafeTensors.",
    b"\x1f\x8b": "is compressed: unpack it, and give the SafeTensors file inside.",
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights: run “git lfs pull”.",
}
LARGEST_PROGRAM = 64 << 20  # bytes of a pickle's program that are looked through


def check_safetensors(path: Path) -> None:
    """Check that a file is SafeTensors, as far as its first bytes tell.

    Raises: UserError that says what the file is, and what to do.
    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}: check the path.")
    with path.open("rb") as file:
        head = file.read(64)
    if not _is_safetensors(head, path.stat().st_size) and (said := _kind(path, head)):
        raise UsageError(f"{path.name} {said}")


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, plain or in torch's zip, and no other kind that is refused."""
    with path.open("rb") as file:
        head = file.read(64)
    return not _is_safetensors(head, path.stat().st_size) and _kind(path, head) == _of_pickle(path)


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether the header's length fits the file and the header begins as JSON. The length's first byte may be a pickle's first."""
    return len(head) > 8 and head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= size


def _kind(path: Path, head: bytes) -> str:
    """What is said of a file that is not SafeTensors; empty where its kind is unknown."""
    for magic, said in MAGIC.items():
        if head.startswith(magic):
            return said
    if head.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        with path.open("rb") as file:
            return PROGRAM if _names_modules(_globals(file.read(LARGEST_PROGRAM))) else _of_pickle(path)
    if head[:1] == b"\x08" and head[2:3] in (
        b"\x12",
        b"\x1a",
        b"\x3a",
        b"\x42",
    ):  # the version, then the producer, the graph or the operators
        return "is an ONNX graph, not weights: save the PyTorch model's state_dict() as SafeTensors."
    return "is a photo, not weights: give the model's own file, such as model.safetensors." if holds_photo(path) else ""


def _of_pickle(path: Path) -> str:
    return PICKLE.format(name=path.name, stem=path.name.split(".")[0])


def _of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
                return f"holds a TorchScript model and {PROGRAM}"
            if program := next((name for name in names if name.rsplit("/")[-1] == "data.pkl"), None):
                with archive.open(program) as file:
                    return PROGRAM if _names_modules(_globals(file.read(LARGEST_PROGRAM))) else _of_pickle(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return "is a broken zip: download or export it again."
    if names and all(name.endswith(".npy") for name in names):
        return "is a NumPy archive: save the PyTorch model's state_dict() as SafeTensors."
    if any(name.endswith((".weights.h5", "keras_metadata.pb")) for name in names):
        return "is a Keras model: save the PyTorch model's state_dict() as SafeTensors."
    if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
        return f"holds an exported graph and {PROGRAM}"
    return "is a zip: unpack it, and give the SafeTensors file inside."


def _globals(program: bytes) -> Iterator[str]:
    """The “module name” of each thing that a pickle asks for. The pickle is read, not run."""
    texts: list[str] = []
    try:
        for opcode, value, _ in pickletools.genops(program):
            if opcode.name == "GLOBAL":
                yield str(value)
            elif opcode.name == "STACK_GLOBAL":
                yield " ".join(texts[-2:])
            elif isinstance(value, str):
                texts.append(value)
    except Exception:  # a cut or broken pickle: what was found so far counts
        return


def _names_modules(asked: Iterator[str]) -> bool:
    return any(name.startswith(("torch.nn.modules.", "torch.fx.", "torch.jit")) for name in asked)


def read_json(path: Path) -> dict:
    """Read a JSON object. Raises: ValueError where the file is none, also for nesting without end; OSError."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value
