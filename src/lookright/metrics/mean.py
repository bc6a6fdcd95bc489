"""The mean of a metric over the images for which it is defined."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


class MeanOverDefined(Metric):
    """Averages a value, or a row of values, of each image; NaN says *undefined here*: left out, and counted.

    `compute()` is NaN where no image was defined.

    Args:
        shape: of one image's value.
        kwargs: of `torchmetrics.Metric`.

    >>> metric = MeanOverDefined()
    >>> metric.update(torch.tensor([1.0, 0.0, float("nan")]))
    >>> metric.compute(), metric.defined, metric.undefined
    (tensor(0.5000), tensor(2), tensor(1))
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor
    defined: Tensor
    undefined: Tensor

    def __init__(self, shape: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("defined", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("undefined", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, value: Float[Tensor, "B ..."]) -> None:
        """Count values in."""
        rows = value.reshape(len(value), -1)
        undefined = rows.isnan().any(1)
        self.total += torch.where(undefined[:, None], 0, rows).sum(0).view_as(self.total)
        self.defined += (~undefined).sum()
        self.undefined += undefined.sum()

    def update(self, value: Float[Tensor, "B ..."]) -> None:
        """Count values in."""
        self.add(value)

    def compute(self) -> Float[Tensor, "..."]:
        """The mean over the defined images."""
        return self.total / self.defined
