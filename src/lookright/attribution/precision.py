"""Maps are computed in float32 or better, whatever the model computes in."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor itself if it is float32 or float64, else in float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
