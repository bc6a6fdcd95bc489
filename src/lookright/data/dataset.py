"""Images and masks transformed in step, drawn in an order that depends on (seed, epoch) alone."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, Sampler
from torchvision.transforms.v2.functional import rgb_to_grayscale

from lookright.batch import Batch
from lookright.data.samples import Sample
from lookright.data.table import groups_of
from lookright.ranges import Checked, within

UNKNOWN_LABEL = -1
UNCHANGED = (1.0, 1.0, 1.0)
"""Brightness, contrast and saturation as they are."""


@dataclass(frozen=True)
class Augmentation(Checked):
    """Random changes of training images, the mask moving with its image.

    Attributes:
        crop: smallest share of the image's area that a random resized crop keeps; 1 resizes the whole image.
        flip: mirror half of the images.
        colour_jitter: strength of random changes in brightness, contrast and saturation, 0 to 1; no hue.
        greyscale: share of images that lose their colour.
    """

    crop: float = within(0.5, most=1, above=0)
    flip: bool = True
    colour_jitter: float = within(0.2, least=0, most=1)
    greyscale: float = within(0.0, least=0, most=1)

    def draw(self, random: Random, height: int, width: int) -> "Change":
        """How an image of a size in pixels is changed."""
        box = _crop(random, height, width, self.crop) if self.crop < 1 else (0, 0, height, width)
        mirrored = self.flip and random.random() < 0.5
        brightness, contrast, saturation = (
            random.uniform(1 - self.colour_jitter, 1 + self.colour_jitter) for _ in "bcs"
        )
        return Change(box, mirrored, (brightness, contrast, 0.0 if random.random() < self.greyscale else saturation))


class Change(NamedTuple):
    """What of an image the model sees, and how.

    Attributes:
        box: top, left, height and width of the part that is kept, in pixels.
        mirrored: left and right are exchanged.
        colour: brightness, contrast and saturation, 1 as they are, see `recoloured`.
    """

    box: tuple[int, int, int, int]
    mirrored: bool = False
    colour: tuple[float, float, float] = UNCHANGED

    def moved(self, pixels: Shaped[Tensor, "C H W"], size: int, smooth: bool) -> Shaped[Tensor, "C size size"]:
        """The part that is kept, on a square of `size` pixels: each the mean of those it covers, or the nearest."""
        top, left, height, width = self.box
        kept = pixels[None, :, top : top + height, left : left + width]
        how: dict[str, Any] = {"mode": "bilinear", "antialias": True} if smooth else {"mode": "nearest"}
        square = interpolate(kept, (size, size), **how)[0] if (height, width) != (size, size) else kept[0]
        return square.flip(-1) if self.mirrored else square


def _crop(random: Random, height: int, width: int, least: float) -> tuple[int, int, int, int]:
    """A box of at least a share of the area, drawn as torchvision's `RandomResizedCrop` draws it."""
    for _ in range(10):
        area = height * width * random.uniform(least, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        high, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < high <= height and 0 < wide <= width:
            return random.randint(0, height - high), random.randint(0, width - wide), high, wide
    high, wide = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return (height - high) // 2, (width - wide) // 2, high, wide


def recoloured(images: Shaped[Tensor, "B 3 H W"], colours: Sequence[Sequence[float]]) -> Float[Tensor, "B 3 H W"]:
    """Colours x in [0, 255] as b (c (s x + (1 − s) grey(x)) + (1 − c) mean grey), clipped.

    These are torchvision's brightness b, contrast c and saturation s, which commute as long as nothing is clipped.

    Args:
        images: bytes, or floats up to 255.
        colours: b, c and s of each image; 1 changes nothing.
    """
    brightness, contrast, saturation = torch.tensor(colours, dtype=torch.float32)[..., None, None].unbind(1)
    scales = brightness * contrast * (saturation * torch.eye(3) + (1 - saturation) * _GREY)
    shifts = brightness * (1 - contrast) * _GREY
    out = torch.empty(images.flatten(2).shape)
    # One by one: batches of so small matrices take longer.
    for image, scale, shift, into in zip(images.flatten(2), scales, shifts, out, strict=True):
        pixels = image.to(torch.float32)
        torch.addmm(shift @ pixels.mean(1, keepdim=True), scale, pixels, out=into).clamp_(0, 255)
    return out.view(images.shape)


_GREY = torch.tensor([[0.299, 0.587, 0.114]]).expand(3, 3)
"""The matrix that makes each channel the luminance (ITU-R BT.601)."""


class ImageDataset(Dataset):
    """Samples by index, or by (epoch, index) for training, where the augmentation depends on (seed, epoch, index).

    Args:
        table: one row per sample, with `label`, `mask_weight` and optionally `domain` and `group`.
        samples: one per row.
        classes: the name of each class index; another label becomes `UNKNOWN_LABEL`.
        domains: the name of each domain index.
        size: of the square that the model sees, in pixels.
        augmentation: applied to (epoch, index); None never augments.
        seed: of the augmentation.
        groups: the name of each group index, see `lookright.data.table.groups_of`.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        samples: Sequence[Sample],
        classes: list[str],
        domains: list[str],
        size: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        groups: Sequence[str] = (),
    ) -> None:
        class_index = {name: index for index, name in enumerate(classes)}
        domain_index = {name: index for index, name in enumerate(domains)}
        self.samples = samples
        self.label = [class_index.get(name, UNKNOWN_LABEL) for name in table["label"]]
        self.domain = [domain_index.get(name, -1) for name in table.get("domain", [""] * len(table))]
        group_index = {name: index for index, name in enumerate(groups)}
        self.group = [group_index.get(name, -1) for name in groups_of(table)]
        self.mask_weight = table["mask_weight"].tolist()
        self.size = size
        self.seed = seed
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> dict:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        image, mask = self.samples[index]
        height, width = image.shape[-2:]
        if epoch is None or self.augmentation is None:
            change = Change((0, 0, height, width))
        else:
            change = self.augmentation.draw(Random(_mix(self.seed, epoch, index)), height, width)
        sample = {
            "image": change.moved(image.as_subclass(Tensor), self.size, smooth=True),
            "label": self.label[index],
            "mask": torch.zeros(self.size, self.size, dtype=torch.uint8),
            "mask_weight": self.mask_weight[index],
            "domain": self.domain[index],
            "group": self.group[index],
            "colour": change.colour,
        }
        if mask is not None:
            sample["mask"], *ignore = change.moved(mask.as_subclass(Tensor), self.size, smooth=False)
            if ignore:
                sample["ignore"] = ignore[0]
        return sample


def _mix(*numbers: int) -> int:
    # A tuple's hash is the same in every process: only strings are salted.
    return hash(numbers) & 0x7FFF_FFFF_FFFF_FFFF


class Collate:
    """Joins samples into a batch: image recoloured and normalised by (image / 255 − mean) / std, mask scaled to [0, 1].

    Args:
        mean: per channel, of values in [0, 1].
        std: per channel.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.mean = torch.tensor(mean).view(1, -1, 1, 1) * 255
        self.std = torch.tensor(std).view(1, -1, 1, 1) * 255

    def normalise(self, image: Tensor) -> Tensor:
        """Values (B, C, H, W) up to 255 to the model's input; colour becomes grey where the model has one channel.

        Floats are overwritten.
        """
        if self.mean.shape[1] == 1 and image.shape[1] == 3:
            image = rgb_to_grayscale(image)
        return image.to(torch.float32).sub_(self.mean).div_(self.std)

    def __call__(self, samples: list[dict]) -> Batch:
        """A batch of samples of `ImageDataset`, with `ignore` if any of them has pixels to ignore."""
        image = torch.stack([sample["image"] for sample in samples])
        colours = [sample["colour"] for sample in samples]
        batch: Batch = {
            "image": self.normalise(image if set(colours) == {UNCHANGED} else recoloured(image, colours)),
            "label": torch.tensor([sample["label"] for sample in samples]),
            "mask": _joined([sample["mask"] for sample in samples]),
            "mask_weight": torch.tensor([sample["mask_weight"] for sample in samples], dtype=torch.float32),
            "domain": torch.tensor([sample["domain"] for sample in samples]),
            "group": torch.tensor([sample["group"] for sample in samples]),
        }
        if any("ignore" in sample for sample in samples):
            nothing = torch.zeros_like(batch["mask"][0])
            batch["ignore"] = _joined([sample.get("ignore", nothing) for sample in samples])
        return batch


def _joined(masks: list[Tensor]) -> Tensor:
    """Bytes as shares of one, floats as they are."""
    if all(mask.dtype == torch.uint8 for mask in masks):
        return torch.stack(masks) / 255
    return torch.stack([mask if mask.is_floating_point() else mask / 255 for mask in masks])


class ShuffledBatches(Sampler[list[tuple[int, int]]]):
    """Every batch of a whole training as (epoch, index), epoch after epoch, each a permutation from (seed, epoch).

    One stream over all epochs, so that a training continues at any batch. An incomplete last batch of an epoch is
    dropped, since BatchNorm cannot normalise a single image; a data set smaller than one batch is one batch. Under DDP
    the processes share out every batch alike.

    Args:
        size: number of images.
        batch_size: of all processes together.
        epochs: number of epochs.
        seed: of the order.
        start: batches to leave out at the beginning.
        rank: of this process.
        world_size: number of processes.
        weights: of each image; an epoch then has as many images, drawn with replacement in proportion to these. None:
            every image once.

    >>> batches = list(ShuffledBatches(size=4, batch_size=2, epochs=2))
    >>> list(ShuffledBatches(size=4, batch_size=2, epochs=2, start=3)) == batches[3:]
    True
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        epochs: int,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.size = size
        self.batch_size = min(batch_size, size) // world_size * world_size
        self.epochs = epochs
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size
        self.weights = weights

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.size // self.batch_size

    def __len__(self) -> int:
        """Batches of the whole training, those left out included."""
        return self.epochs * self.batches_per_epoch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.start // self.batches_per_epoch, self.epochs):
            generator = torch.Generator().manual_seed(_mix(self.seed, epoch))
            if self.weights is None:
                order = torch.randperm(self.size, generator=generator).tolist()
            else:
                weights = torch.tensor(self.weights, dtype=torch.float64)
                order = torch.multinomial(weights, self.size, replacement=True, generator=generator).tolist()
            for batch in range(self.batches_per_epoch):
                if epoch * self.batches_per_epoch + batch >= self.start:
                    indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                    yield [(epoch, index) for index in indices[self.rank :: self.world_size]]
