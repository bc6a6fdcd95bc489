"""PxAP: average precision of the map's pixels as detectors of the mask, over the pixels of all images together."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from lookright.metrics.alignment import Ignore, inside_and_outside, resize

BINS = 1000


def pixel_average_precision(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, ""]:
    """Σ over 1,000 thresholds of precision times the recall that each adds; in [0, 1], higher is better.

    Each map is resized to its mask and scaled to [0, 1]; the pixels of all images are then counted together. Ignored
    pixels (at least 0.5) are not counted. A flat map scores the masks' share of the pixels, and so about does a random
    one. Images with an empty mask or a map with a NaN are left out; undefined where no image is left.

    Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, section 3.4, and their
    code, thresholds included.

    >>> pixel_average_precision(torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor(0.8333)
    """
    return _average_precision(*_count(map, mask, ignore)[:2])


def _count(map: Tensor, mask: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """How many pixels of each bin lie inside and outside; and how many images are left out."""
    inside_and_outside(mask, ignore)
    known = torch.ones_like(mask, dtype=torch.bool) if ignore is None else ignore < 0.5
    inside, outside = (mask >= 0.5) & known, (mask < 0.5) & known
    defined = inside.flatten(1).any(1) & ~map.isnan().flatten(1).any(1)
    value = resize(map[defined].float(), mask.shape[-2:]) if defined.any() else mask[:0]
    low, high = (end(value.flatten(1), 1)[:, None, None] for end in (torch.amin, torch.amax))
    scaled = torch.where(high > low, (value - low) / (high - low), 0)
    # The maximum has a bin of its own.
    bins = (scaled * BINS).long().clamp(0, BINS)
    in_mask, beside = (torch.bincount(bins[part[defined]], minlength=BINS + 1) for part in (inside, outside))
    return in_mask, beside, (~defined).sum()


def _average_precision(inside: Tensor, outside: Tensor) -> Tensor:
    hits, false_alarms = (count.flip(0).double().cumsum(0) for count in (inside, outside))
    precision = hits / (hits + false_alarms).clamp_min(1)
    added = torch.diff(hits, prepend=hits.new_zeros(1)) / hits[-1]
    return (precision * added).sum().float()


class PxAP(Metric):
    """`pixel_average_precision` over batches.

    >>> metric = PxAP()
    >>> metric.update(torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]))
    >>> metric.compute(), metric.undefined
    (tensor(1.), tensor(1))
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    plot_upper_bound = 1.0

    inside: Tensor
    outside: Tensor
    undefined: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("inside", "outside"):
            self.add_state(state, torch.zeros(BINS + 1, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("undefined", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        map: Float[Tensor, "B h w"],
        mask: Float[Tensor, "B H W"],
        weight: Float[Tensor, " B"] | None = None,
        ignore: Ignore = None,
    ) -> None:
        """Count images in; an image whose mask has weight 0 has no mask and is left out."""
        if weight is not None:
            mask = torch.where(weight[:, None, None] > 0, mask, 0)
        inside, outside, undefined = _count(map, mask, ignore)
        self.inside += inside
        self.outside += outside
        self.undefined += undefined

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]; NaN without images."""
        return _average_precision(self.inside, self.outside)
