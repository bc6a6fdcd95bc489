"""Alignment: does the map lie on the mask?

Every function takes a map (B, h, w) on any grid and a mask (B, H, W) in [0, 1], resizes the map bilinearly to the mask,
and returns one value an image, NaN where the metric is undefined: an empty mask never counts as a hit or a miss.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.normalise import minmax, relu
from lookright.errors import InputError
from lookright.metrics.mean import MeanOverDefined

# Of a map scaled to [0, 1]; what resizing adds to equal values by rounding is smaller.
_TIE = 1e-6


def energy_in_mask(map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Σ A·M / Σ A, the share of the map's positive part A = max(map, 0) that lies in the mask. In [0, 1].

    A soft mask weighs. Undefined for an empty mask and for a map without a positive value. A map that is the same
    everywhere scores the mask's share of the image: compare with that, or use `attention_gap`.

    Wang et al., "Score-CAM", CVPR workshops 2020 (the energy-based pointing game).

    >>> energy_in_mask(torch.tensor([[[3.0, 1.0, -5.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([0.7500])
    """
    map, mask = _on_mask(relu(map.float()), mask)
    return _defined((map * mask).sum((1, 2)) / map.sum((1, 2)), mask.sum((1, 2)) > 0)


def attention_gap(map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Σ A·M / Σ M − Σ A·(1 − M) / Σ (1 − M), the map's mean inside minus outside the mask. In [−1, 1].

    A is the map scaled to [0, 1] by its minimum and maximum; clip negative values first if they shall not count. A soft
    mask weighs. A flat map has gap 0. Undefined for an empty and for a full mask.

    >>> attention_gap(torch.tensor([[[4.0, 2.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([0.7500])
    """
    map, mask = _on_mask(minmax(map.float()), mask)
    inside, outside = mask.sum((1, 2)), (1 - mask).sum((1, 2))
    gap = (map * mask).sum((1, 2)) / inside - (map * (1 - mask)).sum((1, 2)) / outside
    return _defined(gap, (inside > 0) & (outside > 0))


def pointing_game(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, tolerance: int = 0
) -> Float[Tensor, " B"]:
    """1 where the map's maximum lies in the mask (at least 0.5), or within `tolerance` pixels of it; else 0.

    Several equal maxima share the point: a map with one of two maxima in the mask scores 0.5, a flat map the mask's
    share of the image. Undefined where no pixel of the mask reaches 0.5.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, with tolerance 15.

    Args:
        map: (B, h, w).
        mask: (B, H, W) in [0, 1].
        tolerance: Euclidean distance in pixels of the mask.

    >>> pointing_game(torch.tensor([[[0.0, 1.0, 1.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))
    tensor([0.5000])
    """
    map, mask = _on_mask(minmax(map.float()), mask)
    target = mask >= 0.5
    hit = _dilate(target, tolerance)
    maximum = map >= map.amax((1, 2), keepdim=True) - _TIE
    return _defined(_count(maximum & hit) / _count(maximum), target.flatten(1).any(1))


def iou(map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Intersection over union of the mask (at least 0.5) and as many of the map's highest pixels. In [0, 1].

    Taking as many pixels as the mask has leaves no threshold to choose. Pixels that tie at the border of the selection
    enter it in equal parts. Undefined where no pixel of the mask reaches 0.5.

    >>> iou(torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor([0.3333])
    """
    map, mask = _on_mask(minmax(map.float()), mask)
    target = mask >= 0.5
    area = _count(target)
    highest = map.flatten(1).topk(max(int(area.max()), 1)).values if len(map) else map.flatten(1)
    threshold = highest.gather(1, (area.long() - 1).clamp_min(0)[:, None])[:, :, None]
    above, tied = map > threshold + _TIE, (map - threshold).abs() <= _TIE
    share = (area - _count(above)) / _count(tied)
    intersection = _count(above & target) + share * _count(tied & target)
    return _defined(intersection / (2 * area - intersection), area > 0)


def _count(pixels: Tensor) -> Tensor:
    # 64-bit counts take twice the time.
    return pixels.sum((1, 2), dtype=torch.int32)


def _on_mask(map: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The map on the mask's grid, both in float32."""
    if map.ndim != 3 or mask.ndim != 3 or len(map) != len(mask):
        raise InputError(
            f"map has shape {tuple(map.shape)} and mask {tuple(mask.shape)}: "
            "expected (B, h, w) and (B, H, W), one map and one mask for each image"
        )
    return resize(map, mask.shape[-2:]), mask.float()


def resize(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Float[Tensor, "B H W"]:
    """The map on another grid, bilinear; a smaller grid averages (antialias)."""
    if map.shape[-2:] == size:
        return map
    return F.interpolate(map.unsqueeze(1), size, mode="bilinear", antialias=True).squeeze(1)


def _dilate(target: Tensor, radius: int) -> Tensor:
    """All pixels within the radius of a pixel of the target."""
    if radius == 0:
        return target
    offset = torch.arange(-radius, radius + 1, device=target.device)
    disc = offset[:, None] ** 2 + offset**2 <= radius**2
    with torch.autocast(target.device.type, enabled=False):
        return F.conv2d(target[:, None].float(), disc[None, None].float(), padding=radius).squeeze(1) > 0.5


def _defined(value: Tensor, defined: Tensor) -> Tensor:
    return torch.where(defined, value, torch.nan)


class _Alignment(MeanOverDefined):
    """Mean of an alignment function over the images that have a mask and for which it is defined."""

    higher_is_better = True
    plot_upper_bound = 1.0

    def value(self, map: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def update(  # type: ignore[override]
        self,
        map: Float[Tensor, "B h w"],
        mask: Float[Tensor, "B H W"],
        mask_weight: Float[Tensor, " B"] | None = None,
    ) -> None:
        """Count images in; an image whose `mask_weight` is 0 has no mask and is undefined."""
        value = self.value(map, mask)
        self.add(value if mask_weight is None else _defined(value, mask_weight > 0))


class EnergyInMask(_Alignment):
    """Mean of `energy_in_mask`.

    >>> metric = EnergyInMask()
    >>> map, mask = torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> metric.update(map, mask)
    >>> metric.compute(), metric.undefined
    (tensor(0.7500), tensor(1))
    """

    value = staticmethod(energy_in_mask)


class AttentionGap(_Alignment):
    """Mean of `attention_gap`."""

    value = staticmethod(attention_gap)


class PointingGame(_Alignment):
    """Mean of `pointing_game`: the hit rate.

    Args:
        tolerance: see `pointing_game`.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, tolerance: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tolerance = tolerance

    def value(self, map: Tensor, mask: Tensor) -> Tensor:
        """Of each image."""
        return pointing_game(map, mask, tolerance=self.tolerance)


class IoU(_Alignment):
    """Mean of `iou`."""

    value = staticmethod(iou)
