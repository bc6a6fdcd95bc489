"""Checkpoints hold tensors and plain values, so that reading one runs no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lookright.errors import InputError
from lookright.replacing import replacing


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values, in place of a checkpoint that is there."""
    with replacing(path) as draft, draft.open("wb") as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # what PyTorch makes of a disk that is full
            refused = error.__context__
            raise refused if isinstance(refused, OSError) else OSError(None, str(error), str(path)) from error


def read_checkpoint(path: Path, keys: tuple[str, ...] = (), device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running any code that it may hold.

    Args:
        path: of the file.
        keys: that it must have.
        device: to put tensors on.

    Raises:
        InputError: there is no such file, it is truncated, holds anything but tensors and plain values, or lacks a key.
    """
    if not path.is_file():
        raise InputError(f"No checkpoint {str(path)!r}. Train the run anew.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a foreign file makes of the unpickler
        first = str(error).strip().split("\n")[0][:200]
        raise InputError(
            f"Cannot read the checkpoint {str(path)!r}: it is damaged, or holds more than tensors and plain values, "
            f"which could run code ({type(error).__name__}: {first}). Delete it, and the run starts again."
        ) from error
    missing = [key for key in keys if not isinstance(state, dict) or key not in state]
    if missing:
        raise InputError(
            f"The checkpoint {str(path)!r} has no {missing[0]!r}: this version did not write it. Train the run anew."
        )
    return state
