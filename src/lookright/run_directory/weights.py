"""`model.safetensors`: the plain model's weights, and facts about them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from lookright.errors import InputError
from lookright.replacing import replacing
from lookright.run_directory.json_file import Keys, json_object


def save_model(path: Path, model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write the plain model's weights, with `facts` (JSON) as metadata; a file that is there is replaced."""
    state = {key: value.detach().contiguous().clone() for key, value in model.state_dict().items()}
    with replacing(path) as draft:
        # One key: safetensors writes several in any order, so that equal weights and facts would be other bytes.
        try:
            safetensors.torch.save_file(state, draft, {"facts": json.dumps(facts)})
        except safetensors.SafetensorError as error:
            raise OSError(None, str(error), str(path)) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    if not path.is_file():
        raise InputError(f"No weights {str(path)!r}.")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the weights {str(path)!r}: {error}. Expected a whole safetensors file."
        ) from error


def read_facts(path: Path, keys: Keys = ()) -> dict[str, Any]:
    """The metadata that `save_model` wrote.

    Args:
        path: of the weights.
        keys: that there must be, with their types where this is a mapping.

    Raises:
        InputError: something else wrote the file, or it lacks a key.
    """
    if not path.is_file():
        raise InputError(f"No weights {str(path)!r}.")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"Cannot read the weights {str(path)!r}: {error}. Expected a whole safetensors file."
        ) from error
    if "facts" not in metadata:
        raise InputError(f"{str(path)!r} holds weights without what a run writes beside them. Train the run anew.")
    return json_object(metadata["facts"], str(path), keys)
