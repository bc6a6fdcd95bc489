"""Images and masks in memory, transformed in step, drawn in an order that depends on (seed, epoch) alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from lookright.batch import Batch
from lookright.data.images import read_box, read_image, read_mask
from lookright.errors import InputError

UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, the mask moving with its image.

    Attributes:
        crop: smallest share of the image's area that a random resized crop keeps; 1 resizes the whole image.
        flip: mirror half of the images.
        colour_jitter: strength of random changes in brightness, contrast and saturation, 0 to 1.
        greyscale: share of images that lose their colour.
    """

    crop: float = 0.5
    flip: bool = True
    colour_jitter: float = 0.2
    greyscale: float = 0.0

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


class Sample(NamedTuple):
    """A decoded image (3, H, W) and its mask (1, H, W), both uint8 where that is exact; None: it has no mask."""

    image: tv_tensors.Image
    mask: tv_tensors.Mask | None


def read_samples(
    folder: Path, table: pd.DataFrame, skip_unreadable: bool = False
) -> tuple[pd.DataFrame, list[Sample], list[str]]:
    """Decode every image and mask of a table once, so that a broken file is found before training and not during it.

    Returns:
        The rows that could be read, their samples, and what was wrong with the others.

    Raises:
        InputError: a file cannot be read (unless `skip_unreadable`), or a mask is not of its image's size.
    """

    def read(row: int) -> Sample | str:
        try:
            return _read_sample(folder, table.iloc[row])
        except InputError as error:
            if skip_unreadable:
                return str(error)
            raise

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(read, range(len(table))))
    kept = [row for row, result in enumerate(results) if isinstance(result, Sample)]
    samples = [result for result in results if isinstance(result, Sample)]
    return table.iloc[kept].reset_index(drop=True), samples, [result for result in results if isinstance(result, str)]


def _read_sample(folder: Path, row: pd.Series) -> Sample:
    image = read_image(folder / row["image"])
    height, width = image.shape[-2:]
    if row.get("mask"):
        mask = read_mask(folder / row["mask"])
        if mask.shape[-2:] != image.shape[-2:]:
            raise InputError(
                f"Mask {row['mask']!r} has {mask.shape[-1]} by {mask.shape[-2]} pixels and its image {row['image']!r} "
                f"{width} by {height}; expected the same size."
            )
    elif row.get("box"):
        mask = read_box(row["box"], height, width, folder / row["image"])
    else:
        return Sample(image, None)
    bytes_ = (mask * 255).round()
    return Sample(image, tv_tensors.Mask(bytes_.to(torch.uint8)) if torch.equal(bytes_ / 255, mask) else mask)


class ImageDataset(Dataset):
    """Samples by index, or by (epoch, index) for training, where the augmentation depends on (seed, epoch, index).

    Args:
        table: one row per sample, with `label`, `mask_weight` and optionally `domain`.
        samples: see `read_samples`.
        classes: the name of each class index; another label becomes `UNKNOWN_LABEL`.
        domains: the name of each domain index.
        size: of the square that the model sees, in pixels.
        augmentation: applied to (epoch, index); None never augments.
        seed: of the augmentation.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        samples: list[Sample],
        classes: list[str],
        domains: list[str],
        size: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        class_index = {name: index for index, name in enumerate(classes)}
        domain_index = {name: index for index, name in enumerate(domains)}
        self.samples = samples
        self.label = [class_index.get(name, UNKNOWN_LABEL) for name in table["label"]]
        self.domain = [domain_index.get(name, -1) for name in table.get("domain", [""] * len(table))]
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
        return {
            "image": image.as_subclass(Tensor),
            "label": self.label[index],
            "mask": mask.as_subclass(Tensor)[0],
            "mask_weight": self.mask_weight[index],
            "domain": self.domain[index],
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

    def __call__(self, samples: list[dict]) -> Batch:
        """A batch of samples of `ImageDataset`."""
        mask = [sample["mask"] if sample["mask"].is_floating_point() else sample["mask"] / 255 for sample in samples]
        return {
            "image": (torch.stack([sample["image"] for sample in samples]).float() - self.mean) / self.std,
            "label": torch.tensor([sample["label"] for sample in samples]),
            "mask": torch.stack(mask),
            "mask_weight": torch.tensor([sample["mask_weight"] for sample in samples], dtype=torch.float32),
            "domain": torch.tensor([sample["domain"] for sample in samples]),
        }


class ShuffledBatches(Sampler[list[tuple[int, int]]]):
    """Every batch of a whole training as (epoch, index), epoch after epoch, each a permutation from (seed, epoch).

    One stream over all epochs, so that a training continues at any batch. An incomplete last batch of an epoch is
    dropped, since BatchNorm cannot normalise a single image; a data set smaller than one batch is one batch. Under DDP
    the processes share out every batch.

    Args:
        size: number of images.
        batch_size: of all processes together.
        epochs: number of epochs.
        seed: of the order.
        start: batches to leave out at the beginning.
        rank: of this process.
        world_size: number of processes.

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
    ) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.epochs = epochs
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size

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
            order = torch.randperm(self.size, generator=generator).tolist()
            for batch in range(self.batches_per_epoch):
                if epoch * self.batches_per_epoch + batch >= self.start:
                    indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                    yield [(epoch, index) for index in indices[self.rank :: self.world_size]]
