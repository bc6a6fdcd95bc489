"""Alignment: does the map lie on the mask?

Every function takes a map (B, h, w) on any grid and a mask (B, H, W) in [0, 1], resizes the map bilinearly to the mask,
and returns one value an image, NaN where the metric is undefined: an empty mask never counts as a hit or a miss.
`ignore` (B, H, W) in [0, 1] marks pixels of which nobody knows: they count neither inside nor outside, nor for the map.
A pixel counts by 1 − ignore where a mask weighs, and where less than half of it is ignored otherwise.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lookright.attribution.normalise import relu
from lookright.errors import InputError
from lookright.metrics.mean import MeanOverDefined

Ignore = Float[Tensor, "B H W"] | None


def energy_in_mask(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """Σ A·M / Σ A, the share of the map's positive part A = max(map, 0) that lies in the mask. In [0, 1].

    A soft mask weighs. Undefined for an empty mask and for a map without a positive value. A map that is the same
    everywhere scores the mask's share of the image: compare with that, or use `attention_gap`.

    Wang et al., "Score-CAM", CVPR workshops 2020 (the energy-based pointing game); Arras et al., "CLEVR-XAI",
    Information Fusion 2022, call it relevance mass accuracy.

    >>> energy_in_mask(torch.tensor([[[3.0, 1.0, -5.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([0.7500])
    """
    inside, outside = _weights(map, mask, ignore)
    map = resize(relu(map.float()), mask.shape[-2:])
    return _defined((map * inside).sum((1, 2)) / (map * (inside + outside)).sum((1, 2)), inside.sum((1, 2)) > 0)


def attention_gap(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """Σ A·M / Σ M − Σ A·(1 − M) / Σ (1 − M), the map's mean inside minus outside the mask. In [−1, 1].

    A is the map scaled to [0, 1] by its minimum and maximum (over the cells that are not wholly ignored); clip negative
    values first if they shall not count. A soft mask weighs. A flat map has gap 0. Undefined for an empty and for a
    full mask.

    >>> attention_gap(torch.tensor([[[4.0, 2.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([0.7500])
    """
    inside, outside = _weights(map, mask, ignore)
    map = resize(_scaled(map.float(), inside + outside), mask.shape[-2:])
    size, rest = inside.sum((1, 2)), outside.sum((1, 2))
    gap = (map * inside).sum((1, 2)) / size - (map * outside).sum((1, 2)) / rest
    return _defined(gap, (size > 0) & (rest > 0))


def pointing_game(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, tolerance: int = 0, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """1 where the map's maximum lies in the mask (at least 0.5), or within `tolerance` pixels of it; else 0.

    Several equal maxima share the point: a map with one of two maxima in the mask scores 0.5, a flat map the mask's
    share of the image. Undefined where no pixel of the mask reaches 0.5.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, with tolerance 15.

    Args:
        map: (B, h, w).
        mask: (B, H, W) in [0, 1].
        tolerance: Euclidean distance in pixels of the mask.
        ignore: (B, H, W) in [0, 1].

    >>> pointing_game(torch.tensor([[[0.0, 1.0, 1.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))
    tensor([0.5000])
    """
    value, target, known = _ordered(map, mask, ignore)
    maximum = known & (value == value.amax((1, 2), keepdim=True))
    return _defined(_count(maximum & _dilate(target, tolerance)) / _count(maximum), target.flatten(1).any(1))


def iou(map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None) -> Float[Tensor, " B"]:
    """Intersection over union of the mask (at least 0.5) and as many of the map's highest pixels. In [0, 1].

    Taking as many pixels as the mask has leaves no threshold to choose. Pixels that tie at the border of the selection
    enter it in equal parts. Undefined where no pixel of the mask reaches 0.5.

    >>> iou(torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor([0.3333])
    """
    intersection, area = _highest_in_mask(map, mask, ignore)
    return _defined(intersection / (2 * area - intersection), area > 0)


def relevance_rank(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """Share of the map's highest pixels, as many as the mask (at least 0.5) has, that lie in the mask. In [0, 1].

    Pixels that tie at the border of the selection enter it in equal parts. Undefined where no pixel of the mask reaches
    0.5. It orders maps as `iou` does: rank r is an IoU of r / (2 − r).

    Arras et al., "CLEVR-XAI", Information Fusion 2022 (relevance rank accuracy).

    >>> relevance_rank(torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor([0.5000])
    """
    intersection, area = _highest_in_mask(map, mask, ignore)
    return _defined(intersection / area, area > 0)


def _highest_in_mask(map: Tensor, mask: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]:
    """How many of the highest pixels, as many as the mask has, lie in it; and how many it has."""
    value, target, _ = _ordered(map, mask, ignore)
    area = _count(target)
    highest = value.flatten(1).topk(max(int(area.max()), 1)).values if len(value) else value.flatten(1)
    threshold = highest.gather(1, (area.long() - 1).clamp_min(0)[:, None])[:, :, None]
    above, tied = value > threshold, value == threshold
    share = (area - _count(above)) / _count(tied)
    return _count(above & target) + share * _count(tied & target), area


def _count(pixels: Tensor) -> Tensor:
    # 64-bit counts take twice the time.
    return pixels.sum((1, 2), dtype=torch.int32)


def _weights(map: Tensor, mask: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]:
    """How much each pixel counts as inside and as outside."""
    if map.ndim != 3 or mask.ndim != 3 or len(map) != len(mask):
        raise InputError(
            f"map has shape {tuple(map.shape)} and mask {tuple(mask.shape)}: "
            "expected (B, h, w) and (B, H, W), one map and one mask for each image"
        )
    return inside_and_outside(mask, ignore)


def inside_and_outside(mask: Tensor, ignore: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How much each pixel (B, H, W) counts as inside and as outside: M·(1 − I) and (1 − M)·(1 − I).

    Raises:
        InputError: values out of [0, 1], or `ignore` of another shape.
    """
    if ignore is not None and ignore.shape != mask.shape:
        raise InputError(f"ignore has shape {tuple(ignore.shape)}: expected that of the mask, {tuple(mask.shape)}")
    mask = _in_range("mask", mask)
    if ignore is None:
        return mask, 1 - mask
    known = 1 - _in_range("ignore", ignore)
    return mask * known, (1 - mask) * known


def _in_range(name: str, values: Tensor) -> Tensor:
    values = values.float()
    if values.numel():
        low, high = (end.item() for end in values.aminmax())
        if not 0 <= low <= high <= 1:
            raise InputError(f"{name} has values from {low:g} to {high:g}: expected 0 to 1 (divide 8-bit masks by 255)")
    return values


def _scaled(map: Tensor, weight: Tensor) -> Tensor:
    """The map in [0, 1] over the cells that count; zeros where it is flat there."""
    seen = F.adaptive_avg_pool2d(weight, (map.shape[-2], map.shape[-1])) > 0
    low = torch.where(seen, map, torch.inf).amin((1, 2), keepdim=True)
    width = torch.where(seen, map, -torch.inf).amax((1, 2), keepdim=True) - low
    flat = width <= torch.finfo(width.dtype).tiny
    return torch.where(flat, 0.0, map - low) / torch.where(flat, 1.0, width)


def _ordered(map: Tensor, mask: Tensor, ignore: Tensor | None) -> tuple[Tensor, Bool[Tensor, "B H W"], Tensor]:
    """The map on the mask's grid, to be compared and -inf where ignored; the mask's pixels; and those not ignored."""
    _weights(map, mask, ignore)
    known = torch.ones_like(mask, dtype=torch.bool) if ignore is None else ignore < 0.5
    value = torch.where(known, resize_in_order(map, mask.shape[-2:]), -torch.inf)
    return value, (mask >= 0.5) & known, known


def resize(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Float[Tensor, "B H W"]:
    """The map on another grid, bilinear; a smaller grid averages (antialias)."""
    if map.shape[-2:] == size:
        return map
    return F.interpolate(map.unsqueeze(1), size, mode="bilinear", antialias=True).squeeze(1)


def resize_in_order(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Float[Tensor, "B H W"]:
    """`resize` for values that are only compared: equal ones stay equal, different ones different.

    Resizing in single precision would order a plateau by its rounding errors; so it is done in double precision and
    rounded then. A map with a NaN becomes all NaN: it has no order.
    """
    map = torch.where(map.isnan().any((1, 2), keepdim=True), torch.nan, map.float())
    if map.shape[-2:] == size:
        return map
    precise = torch.float32 if map.device.type == "mps" else torch.float64  # which has no double
    return resize(map.to(precise), size).float()


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


class Alignment(MeanOverDefined):
    """Mean of an alignment function over the images that have a mask and for which it is defined."""

    higher_is_better = True
    plot_upper_bound: float | None = 1.0

    def value(self, map: Tensor, mask: Tensor, *, ignore: Tensor | None = None) -> Tensor:
        """Of each image (B); NaN where it is undefined."""
        raise NotImplementedError

    def update(  # type: ignore[override]
        self,
        map: Float[Tensor, "B h w"],
        mask: Float[Tensor, "B H W"],
        weight: Float[Tensor, " B"] | None = None,
        ignore: Float[Tensor, "B H W"] | None = None,
    ) -> None:
        """Count images in; an image whose mask has weight 0 has no mask and is undefined, whatever stands there."""
        if weight is None:
            return self.add(self.value(map, mask, ignore=ignore))
        has_mask = weight > 0
        there = has_mask[:, None, None]
        mask = torch.where(there, mask, 0)
        ignore = None if ignore is None else torch.where(there, ignore, 0)
        self.add(_defined(self.value(map, mask, ignore=ignore), has_mask))


class EnergyInMask(Alignment):
    """Mean of `energy_in_mask`.

    >>> metric = EnergyInMask()
    >>> map, mask = torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> metric.update(map, mask)
    >>> metric.compute(), metric.undefined
    (tensor(0.7500), tensor(1))
    """

    value = staticmethod(energy_in_mask)


class AttentionGap(Alignment):
    """Mean of `attention_gap`."""

    value = staticmethod(attention_gap)


class PointingGame(Alignment):
    """Mean of `pointing_game`: the hit rate.

    Args:
        tolerance: see `pointing_game`.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, tolerance: int = 0, **kwargs: Any) -> None:
        super().__init__(of=tolerance, **kwargs)
        self.tolerance = tolerance

    def value(self, map: Tensor, mask: Tensor, *, ignore: Tensor | None = None) -> Tensor:
        """Of each image."""
        return pointing_game(map, mask, tolerance=self.tolerance, ignore=ignore)


class IoU(Alignment):
    """Mean of `iou`."""

    value = staticmethod(iou)


class RelevanceRank(Alignment):
    """Mean of `relevance_rank`."""

    value = staticmethod(relevance_rank)
