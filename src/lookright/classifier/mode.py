"""Modes that are given back: eval mode and random state; and whether activations are checkpointed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and every submodule back into its own mode afterwards.

    >>> block = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3).eval())
    >>> with evaluating(block):
    ...     block.training
    False
    >>> block.training, block[0].training, block[1].training
    (True, True, False)
    """
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes:
            submodule.training = mode


def is_checkpointed(module: nn.Module) -> bool:
    """Whether timm's or Hugging Face's switch is on anywhere; checkpoints of a user's own making cannot be seen."""
    switches = ("grad_checkpointing", "gradient_checkpointing")
    return any(getattr(part, switch, False) for part in module.modules() for switch in switches)


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """The caller's random state is given back; the meta device draws nothing."""
    if device.type == "meta":
        return nullcontext()
    return torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type)
