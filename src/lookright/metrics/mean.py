"""The mean of a metric over the images for which it is defined."""

import re
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
        of: what is averaged, where the class alone does not say it. `torchmetrics.MetricCollection` takes metrics whose
            states have the same names and, after the first batch, the same values for one metric; so the names hold
            the class and this.
        kwargs: of `torchmetrics.Metric`.

    >>> metric = MeanOverDefined()
    >>> metric.update(torch.tensor([1.0, 0.0, float("nan")]))
    >>> metric.compute(), metric.defined, metric.undefined
    (tensor(0.5000), tensor(2), tensor(1))
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, shape: tuple[int, ...] = (), of: object = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._of = re.sub(r"\W+", "_", f"{type(self).__name__}_{of}")
        self.add_state(f"total_{self._of}", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state(f"defined_{self._of}", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state(f"undefined_{self._of}", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def total(self) -> Float[Tensor, "..."]:
        """Sum over the defined images."""
        return getattr(self, f"total_{self._of}")

    @property
    def defined(self) -> Tensor:
        """How many images were defined."""
        return getattr(self, f"defined_{self._of}")

    @property
    def undefined(self) -> Tensor:
        """How many were not."""
        return getattr(self, f"undefined_{self._of}")

    def add(self, value: Float[Tensor, "B ..."]) -> None:
        """Count values in."""
        rows = value.reshape(len(value), -1)
        undefined = rows.isnan().any(1)
        # In place: the states are these tensors.
        self.total.add_(torch.where(undefined[:, None], 0, rows).sum(0).view_as(self.total))
        self.defined.add_((~undefined).sum())
        self.undefined.add_(undefined.sum())

    def update(self, value: Float[Tensor, "B ..."]) -> None:
        """Count values in."""
        self.add(value)

    def compute(self) -> Float[Tensor, "..."]:
        """The mean over the defined images."""
        return self.total / self.defined
