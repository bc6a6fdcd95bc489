"""Images and masks transformed in step, drawn in an order that depends on (seed, epoch) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from lookright.batch import Batch
from lookright.data.samples import Sample
from lookright.data.table import groups_of
from lookright.ranges import Checked, within

UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class Augmentation(Checked):
    """Random changes of training images, the mask moving with its image.

    Attributes:
        crop: smallest share of the image's area that a random resized crop keeps; 1 resizes the whole image.
        flip: mirror half of the images.
        colour_jitter: strength of random changes in brightness, contrast and saturation, 0 to 1.
        greyscale: share of images that lose their colour.
    """

    crop: float = within(0.5, most=1, above=0)
    flip: bool = True
    colour_jitter: float = within(0.2, least=0, most=1)
    greyscale: float = within(0.0, least=0, most=1)

    def transform(self, size: int) -> v2.Transform:
        """The random transform to a square of `size` pixels."""
        steps: list[v2.Transform] = [
            v2.RandomResizedCrop(size, scale=(self.crop, 1.0), antialias=True) if self.crop < 1 else _resize(size)
        ]
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        if self.colour_jitter:
            steps.append(v2.ColorJitter(self.colour_jitter, self.colour_jitter, self.colour_jitter))
        if self.greyscale:
            steps.append(v2.RandomGrayscale(self.greyscale))
        return v2.Compose(steps)


def _resize(size: int) -> v2.Transform:
    return v2.Resize((size, size), antialias=True)


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
        self.plain = _resize(size)
        self.augment = augmentation.transform(size) if augmentation else self.plain

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> dict:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        image, mask = self.samples[index]
        if mask is None:
            mask = tv_tensors.Mask(torch.zeros(1, *image.shape[-2:], dtype=torch.uint8))
        if epoch is None:
            image, mask = self.plain(image, mask)
        else:
            with torch.random.fork_rng(devices=[]):
                # torch.manual_seed seeds every kind of accelerator too, and keeps a stack trace for each that is not
                # there, which takes longer than the transform.
                torch.default_generator.manual_seed(_mix(self.seed, epoch, index))
                image, mask = self.augment(image, mask)
        evidence, *ignore = mask.as_subclass(Tensor)
        return {
            "image": image.as_subclass(Tensor),
            "label": self.label[index],
            "mask": evidence,
            "mask_weight": self.mask_weight[index],
            "domain": self.domain[index],
            "group": self.group[index],
            **({"ignore": ignore[0]} if ignore else {}),
        }


def _mix(*numbers: int) -> int:
    # A tuple's hash is the same in every process: only strings are salted.
    return hash(numbers) & 0x7FFF_FFFF_FFFF_FFFF


class Collate:
    """Joins samples into a batch: image normalised by (image / 255 − mean) / std, mask scaled to [0, 1].

    Args:
        mean: per channel, of values in [0, 1].
        std: per channel.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.mean = torch.tensor(mean).view(1, -1, 1, 1) * 255
        self.std = torch.tensor(std).view(1, -1, 1, 1) * 255

    def normalise(self, image: Tensor) -> Tensor:
        """Bytes (B, C, H, W) to the model's input; colour becomes grey where the model has one channel."""
        if self.mean.shape[1] == 1 and image.shape[1] == 3:
            image = v2.functional.rgb_to_grayscale(image)
        return image.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)

    def __call__(self, samples: list[dict]) -> Batch:
        """A batch of samples of `ImageDataset`, with `ignore` if any of them has pixels to ignore."""
        batch: Batch = {
            "image": self.normalise(torch.stack([sample["image"] for sample in samples])),
            "label": torch.tensor([sample["label"] for sample in samples]),
            "mask": torch.stack([_in_one(sample["mask"]) for sample in samples]),
            "mask_weight": torch.tensor([sample["mask_weight"] for sample in samples], dtype=torch.float32),
            "domain": torch.tensor([sample["domain"] for sample in samples]),
            "group": torch.tensor([sample["group"] for sample in samples]),
        }
        if any("ignore" in sample for sample in samples):
            nothing = torch.zeros_like(batch["mask"][0])
            batch["ignore"] = torch.stack([_in_one(sample.get("ignore", nothing)) for sample in samples])
        return batch


def _in_one(mask: Tensor) -> Tensor:
    """Bytes as shares of one."""
    return mask if mask.is_floating_point() else mask / 255


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
