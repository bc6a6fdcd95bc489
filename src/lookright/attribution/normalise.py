"""Normalisers of a map, explicit and safe on flat maps: a flat map becomes all zeros, with zero gradient."""

import torch
from jaxtyping import Float
from torch import Tensor


def relu(map: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Keep the evidence for the class, drop the evidence against it.

    >>> relu(torch.tensor([[[-1.0, 2.0]]]))
    tensor([[[0., 2.]]])
    """
    return map.clamp_min(0)


def minmax(map: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Scale each map to [0, 1].

    >>> minmax(torch.tensor([[[1.0, 2.0, 3.0]], [[5.0, 5.0, 5.0]]]))
    tensor([[[0.0000, 0.5000, 1.0000]],
    <BLANKLINE>
            [[0.0000, 0.0000, 0.0000]]])
    """
    low, high = map.amin((1, 2), keepdim=True), map.amax((1, 2), keepdim=True)
    return _divide(map - low, high - low)


def sum_to_one(map: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Divide each non-negative map by its sum.

    >>> sum_to_one(torch.tensor([[[1.0, 3.0]]]))
    tensor([[[0.2500, 0.7500]]])
    """
    return _divide(map, map.sum((1, 2), keepdim=True))


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    # Where the denominator vanishes both are replaced, so that neither the value nor the gradient divides by zero.
    flat = denominator <= torch.finfo(denominator.dtype).tiny
    return torch.where(flat, torch.zeros_like(numerator), numerator) / torch.where(flat, 1.0, denominator)
