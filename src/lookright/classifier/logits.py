"""The logits in what a classifier returned."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lookright.errors import InputError


def logits_of(result: Any) -> Tensor:
    """The logits in what a classifier returned: a tensor, a tuple that starts with one, an object with `.logits`."""
    if isinstance(result, Mapping) and "logits" in result:
        logits = result["logits"]
    else:
        logits = getattr(result, "logits", result)
    while isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        given = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(result).__name__
        raise InputError(
            f"The model returned {given}. Expected logits of shape (B, K), as torchvision, timm and Hugging Face "
            "classifiers return them: a tensor, a tuple that starts with it, or an object with .logits."
        )
    return logits
