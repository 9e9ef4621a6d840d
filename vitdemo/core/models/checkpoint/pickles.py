"""Read a pickle's tensors, and nothing else that it holds. Only `pickle_program.py` may do that, in a process of its own."""

import argparse
import pickle
import re
import zipfile
from typing import IO, Any

import torch
from safetensors.torch import save

from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint.read import check_numbers, refuse_adapter, unwrapped

BLOCKED = re.compile(r"nsupported (?:global: )?(?:GLOBAL|class) ([\w.]*\w)")
ASIDE = re.compile(r"(optim|lr_|sched|scaler|callback|loops|rng|hyper_param|loss|criterion|amp)", re.IGNORECASE)  # of the training
DEEPEST = 4  # dictionaries in dictionaries


def read(file: IO[bytes], name: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Read a checkpoint's model. Returns: the tensors, and what was done, a sentence each.

    Raises: UserError for a file that holds more than values, or no model.
    """
    tensors: dict[str, torch.Tensor] = {}
    collect(load(file, name), "", tensors)
    if not tensors:
        raise UserError(f"{name} holds no named tensors: save model.state_dict().")
    refuse_adapter(tensors, name)
    check_numbers(tensors, name)
    return unwrapped(tensors, name)


def load(file: IO[bytes], name: str) -> Any:
    """Read a pickle's values. Raises: UserError naming what else it holds, and for a file that is broken."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's training script keeps its flags in one: a holder of values
            return torch.load(file, map_location="cpu", weights_only=True)  # by its handle: torch goes by a path's suffix
    except pickle.UnpicklingError as error:
        found = BLOCKED.search(str(error))
        raise UserError(
            f"{name} holds more than tensors{f' ({found[1]})' if found else ''}, and opening that would run code: save model.state_dict() "
            "alone, as SafeTensors."
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{name} is broken or no checkpoint of torch ({reason}): download or save it again.") from None


def collect(value: Any, prefix: str, into: dict[str, torch.Tensor]) -> None:
    """Gather the tensors of nested dictionaries under dotted names, without those of the optimizer and the like."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized:
            raise UserError(f"{prefix.rstrip('.')} is sparse or quantised: save the model in fp16 or fp32.")
        into[prefix.rstrip(".")] = value
    elif isinstance(value, dict) and prefix.count(".") < DEEPEST:
        for name, part in value.items():
            if isinstance(name, str) and not (ASIDE.match(name) and (isinstance(part, dict) or not prefix)):
                collect(part, f"{prefix}{name}.", into)


def as_safetensors(state: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a SafeTensors file. Tensors that share memory are written each."""
    return save({name: value.detach().clone().contiguous() for name, value in state.items()}, {"format": "pt"})
