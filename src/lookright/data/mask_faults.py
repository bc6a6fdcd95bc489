"""Masks as hurried annotators make them: how good masks have to be is told by a curve over such faults.

Lengths are in sides of a square of the mask's area, so that small and large objects are hurt alike. A pixel is evidence
from half of the full value on, and the ignored plane stays as it is. Masks that are missing are `mask_share`, those of
another image `mask_controls.RandomImage`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lookright.data.mask_controls import ControlledSamples, MaskControl, full_value
from lookright.data.samples import Sample
from lookright.ranges import Checked, within

Evidence = Bool[Tensor, "H W"]


@dataclass(frozen=True)
class Shifted(MaskControl, Checked):
    """Moved in a direction that is drawn for each image, by the seed of the run.

    What leaves the image is lost; a mask of which nothing would be left stays where it is.

    Args:
        by: distance, in sides of a square of the mask's area.
    """

    by: float = within(0.5, least=0, most=10)

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        angles = 2 * math.pi * torch.rand(len(samples), generator=torch.Generator().manual_seed(seed))
        return _altered(samples, partial(_shifted, by=self.by, angles=angles.tolist()))


@dataclass(frozen=True)
class Dilated(MaskControl, Checked):
    """Drawn too generously: with everything around it up to a distance.

    Args:
        by: distance, in sides of a square of the mask's area.
    """

    by: float = within(0.25, least=0, most=10)

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        return _altered(samples, partial(_dilated, by=self.by))


@dataclass(frozen=True)
class Shrunk(MaskControl, Checked):
    """Drawn too small: without what is nearer to its edge than a distance; its innermost pixels always stay.

    Args:
        by: distance, in sides of a square of the mask's area.
    """

    by: float = within(0.25, least=0, most=10)

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        return _altered(samples, partial(_shrunk, by=self.by))


@dataclass(frozen=True)
class Boxed(MaskControl):
    """The smallest box around it."""

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        return _altered(samples, _boxed)


def _altered(samples: Sequence[Sample], alter: Callable[[int, Evidence], Evidence]) -> ControlledSamples:
    return ControlledSamples(samples, partial(_with_evidence, alter))


def _with_evidence(alter: Callable[[int, Evidence], Evidence], index: int, image: Tensor, mask: Tensor) -> Tensor:
    full = full_value(mask)
    evidence = mask[0] >= full / 2
    if not evidence.any():
        return mask
    return torch.cat([alter(index, evidence)[None].to(mask.dtype) * full, mask[1:]])


def _shifted(index: int, evidence: Evidence, by: float, angles: Sequence[float]) -> Evidence:
    distance = by * _side(evidence)
    rows, columns = evidence.nonzero(as_tuple=True)
    rows = rows + round(distance * math.sin(angles[index]))
    columns = columns + round(distance * math.cos(angles[index]))
    height, width = evidence.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if not inside.any():
        return evidence
    moved = torch.zeros_like(evidence)
    moved[rows[inside], columns[inside]] = True
    return moved


def _dilated(index: int, evidence: Evidence, by: float) -> Evidence:
    return torch.from_numpy(distance_transform_edt(~evidence.numpy()) <= by * _side(evidence))


def _shrunk(index: int, evidence: Evidence, by: float) -> Evidence:
    depth = torch.from_numpy(distance_transform_edt(evidence.numpy()))
    return evidence & (depth > min(by * _side(evidence), depth.max().item() - 1e-6))


def _boxed(index: int, evidence: Evidence) -> Evidence:
    rows, columns = evidence.nonzero(as_tuple=True)
    box = torch.zeros_like(evidence)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return box


def _side(evidence: Evidence) -> float:
    return math.sqrt(evidence.sum().item())
