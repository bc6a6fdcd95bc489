"""Compiled parts of a model run their original code for a while."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def eagerly(model: nn.Module) -> AbstractContextManager[object]:
    """Hooks of what was compiled before they were registered would be ignored; its original code calls them."""
    is_compiled = any(
        module._compiled_call_impl is not None or hasattr(module, "_orig_mod") for module in model.modules()
    )
    return torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
