"""Wrong masks on purpose: what a mask-guided method gains must vanish with them, or it is not owed to the masks.

A control alters the masks of the training samples, and nothing else, before any augmentation. Images without a mask
stay without one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from lookright.data.dataset import Sample


class MaskControl(ABC):
    """Alters masks."""

    @abstractmethod
    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """The same images in the same order, with other masks."""


@dataclass(frozen=True)
class Inverted(MaskControl):
    """1 − mask: the evidence is said to be everywhere but where it is."""

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """See `MaskControl`."""
        return [
            sample if sample.mask is None else _with_mask(sample, _one(sample.mask) - sample.mask) for sample in samples
        ]


@dataclass(frozen=True)
class RandomImage(MaskControl):
    """The mask of another image, resized to this one: plausible masks in the wrong places.

    One random cycle leads through all images that have a mask, so that each mask is used once and none stays where it
    was (unless there is only one).

    Args:
        seed: of the cycle.
    """

    seed: int = 0

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """See `MaskControl`."""
        masked = [index for index, sample in enumerate(samples) if sample.mask is not None]
        order = torch.randperm(len(masked), generator=torch.Generator().manual_seed(self.seed)).tolist()
        controlled = list(samples)
        for place, next_place in zip(order, order[1:] + order[:1], strict=True):
            sample, mask = samples[masked[place]], samples[masked[next_place]].mask
            assert mask is not None
            controlled[masked[place]] = _with_mask(sample, functional.resize(mask, list(sample.image.shape[-2:])))
        return controlled


@dataclass(frozen=True)
class Uniform(MaskControl):
    """A full mask for every image that has one: the annotation says that there is evidence, and not where."""

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """See `MaskControl`."""
        return [
            sample if sample.mask is None else _with_mask(sample, torch.full_like(sample.mask, _one(sample.mask)))
            for sample in samples
        ]


def _one(mask: Tensor) -> int:
    """The value that says evidence: masks are bytes or floats."""
    return 1 if mask.is_floating_point() else 255


def _with_mask(sample: Sample, mask: Tensor) -> Sample:
    return sample._replace(mask=tv_tensors.Mask(mask))
