"""From an attribution for each channel of a pixel to one for the pixel."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lookright.errors import require_one_of

Channels = Literal["absolute", "signed", "maximum"]
"""absolute: Σ_c |a_c|; signed: Σ_c a_c; maximum: max_c |a_c|."""


def over_channels(attribution: Float[Tensor, "B C H W"], channels: Channels) -> Float[Tensor, "B H W"]:
    """Reduce the attributions of a pixel's channels to one.

    >>> import torch
    >>> attribution = torch.tensor([2.0, -3.0, 0.0])[None, :, None, None]
    >>> [over_channels(attribution, channels).item() for channels in ("absolute", "signed", "maximum")]
    [5.0, -1.0, 3.0]
    """
    require_one_of("channels", channels, ("absolute", "signed", "maximum"))
    if channels == "signed":
        return attribution.sum(1)
    return attribution.abs().sum(1) if channels == "absolute" else attribution.abs().amax(1)
