"""Wrong masks on purpose: what a mask-guided method gains must vanish with them, or it is not owed to the masks.

A control alters the masks of the training samples, and nothing else, before any augmentation. Images without a mask
stay without one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from lookright.data.samples import Sample


class MaskControl(ABC):
    """Alters masks."""

    @abstractmethod
    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> "ControlledSamples":
        """The same images in the same order, with other masks.

        Args:
            samples: as they are.
            mask_weight: of each, 0 where it has no mask or one that does not count.
            seed: of the run.
        """


class ControlledSamples(Sequence[Sample]):
    """Samples whose masks are altered whenever one is asked for, so that no more of them are in memory than before.

    Args:
        samples: as they are.
        control: makes the new mask (1 or 2, H, W) from index, image and mask of a sample that has one.
    """

    def __init__(self, samples: Sequence[Sample], control: Callable[[int, Tensor, Tensor], Tensor]) -> None:
        self.samples = samples
        self.control = control

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        sample = self.samples[index]
        if sample.mask is None:
            return sample
        return sample._replace(mask=tv_tensors.Mask(self.control(index, sample.image, sample.mask)))


@dataclass(frozen=True)
class Inverted(MaskControl):
    """1 − mask: the evidence is said to be everywhere but where it is. What is ignored stays so."""

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        return ControlledSamples(samples, _inverted)


def _inverted(index: int, image: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([full_value(mask) - mask[:1], mask[1:]])


@dataclass(frozen=True)
class RandomImage(MaskControl):
    """The mask of another image, resized to this one: plausible masks in the wrong places.

    One random cycle leads through all images whose mask counts, so that each mask is used once and none stays where it
    was (unless there is only one).

    Args:
        seed: of the cycle, together with the seed of the run: runs of other seeds get another cycle.
    """

    seed: int = 0

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        masked = torch.tensor(mask_weight).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(hash((self.seed, seed)))
        cycle = masked[torch.randperm(len(masked), generator=generator)]
        donor = dict(zip(cycle.tolist(), cycle.roll(-1).tolist(), strict=True))
        return ControlledSamples(samples, partial(_of_another, samples, donor))


def _of_another(samples: Sequence[Sample], donor: Mapping[int, int], index: int, image: Tensor, mask: Tensor) -> Tensor:
    other = samples[donor[index]].mask if index in donor else mask
    assert other is not None
    return functional.resize(other, list(image.shape[-2:]))


@dataclass(frozen=True)
class Uniform(MaskControl):
    """A full mask for every image that has one: the annotation says that there is evidence, and not where."""

    def __call__(self, samples: Sequence[Sample], mask_weight: Sequence[float], seed: int) -> ControlledSamples:
        """See `MaskControl`."""
        return ControlledSamples(samples, _full)


def _full(index: int, image: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([torch.full_like(mask[:1], full_value(mask)), mask[1:]])


def full_value(mask: Tensor) -> int:
    """The value that says evidence and nothing else: masks are bytes or floats."""
    return 1 if mask.is_floating_point() else 255
