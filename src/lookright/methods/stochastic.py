"""Methods that draw random numbers."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from lookright.classifier import Classifier
from lookright.methods.method import Method

Network = TypeVar("Network", bound=nn.Module)


class Stochastic(Method):
    """Draws from its own generators and never from the global one.

    What is drawn depends on the seed and on the number of batches drawn for in training mode, which checkpoints keep:
    a resumed run goes on with the draws of an unbroken one.

    Args:
        seed: of all draws.
    """

    is_base = True

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.draws = 0

    def generator(self) -> torch.Generator:
        """A generator for one batch, on the CPU: the same numbers whatever device the images are on."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.draws)))
        self.draws += self.training
        return generator

    def built(self, make: Callable[[], Network], classifier: Classifier) -> Network:
        """A network of the method's own, of the seed's first weights, on the classifier's device and in its dtype."""
        parameter = next(classifier.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return make().to(parameter.device, parameter.dtype)

    def get_extra_state(self) -> dict[str, Any]:
        """With the seed, all that the next draws depend on."""
        return super().get_extra_state() | {"draws": self.draws}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with the draws where a checkpoint left them."""
        super().set_extra_state(state)
        self.draws = state["draws"]


def add_to_seeds(method: Method, seed: int) -> None:
    """Add a run's seed to that of every part of a method that draws, so that runs of other seeds draw other numbers."""
    for part in method.modules():
        if isinstance(part, Stochastic):
            part.seed += seed
