"""Modes of a model: eval mode that is given back, and activation checkpointing."""

from collections.abc import Iterator
from contextlib import contextmanager

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
