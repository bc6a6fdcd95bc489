"""The data of a run: a table split by its protocol, its samples, and what may be wrong with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from lookright.batch import Batch
from lookright.data.dataset import Augmentation, ImageDataset
from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import UNTESTED_SPLITS, Protocol
from lookright.data.samples import Sample, Samples, folder_encoding, read_samples
from lookright.data.table import class_names, fingerprint, groups_of, read_table
from lookright.errors import InputError
from lookright.training.preprocessing import Preprocessing


@dataclass
class RunData:
    """Rows and their samples, in step.

    Attributes:
        table: with a column `split`.
        samples: one per row.
        classes: the names of the class indices: the labels of the training split.
        domains: the names of the domain indices.
        groups: the names of the group indices, see `lookright.data.table.groups_of`.
        fingerprint: of the folder, see `lookright.data.table.fingerprint`.
        skipped: what was wrong with the images that were left out.
        mask_control: alters the masks of the training images.
        repeats: how often each training image occurs in an epoch; None: once.
    """

    table: pd.DataFrame
    samples: Samples
    classes: list[str]
    domains: list[str]
    groups: list[str]
    fingerprint: str
    skipped: list[str]
    mask_control: MaskControl | None = None
    repeats: list[int] | None = None

    @property
    def test_splits(self) -> list[str]:
        """Every split but `train`, `val` and `oracle_val`, in order of appearance."""
        return [split for split in self.table["split"].unique() if split not in UNTESTED_SPLITS]

    @property
    def group_sizes(self) -> list[int]:
        """How many training images each group has."""
        counts = groups_of(self.rows("train")).value_counts()
        return [int(counts.get(name, 0)) for name in self.groups]

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of a split."""
        return self.table[self.table["split"] == split]

    @property
    def training_rows(self) -> pd.DataFrame:
        """The rows of an epoch of training."""
        rows = self.rows("train")
        return rows if self.repeats is None else rows.loc[rows.index.repeat(self.repeats)]

    def dataset(self, split: str, size: int, augmentation: Augmentation | None = None, seed: int = 0) -> ImageDataset:
        """The images of a split, or with an augmentation those of an epoch of training.

        `seed` is that of the augmentation and of the mask control.
        """
        rows = self.training_rows if augmentation else self.rows(split)
        samples: Sequence[Sample] = self.samples.of_rows(rows.index)
        if split == "train" and self.mask_control:
            samples = self.mask_control(samples, rows["mask_weight"].tolist(), seed)
        return ImageDataset(rows, samples, self.classes, self.domains, size, augmentation, seed, self.groups)

    def loader(self, split: str, preprocessing: Preprocessing, batch_size: int = 64) -> DataLoader:
        """The images of a split in order, not augmented."""
        return DataLoader(self.dataset(split, preprocessing.size), batch_size, collate_fn=preprocessing.collate())

    def batches(self, split: str, preprocessing: Preprocessing, device: torch.device) -> Iterator[Batch]:
        """The images of a split in order, not augmented, on a device."""
        for batch in self.loader(split, preprocessing):
            yield cast(Batch, {key: value.to(device) for key, value in batch.items()})


def load_data(
    folder: Path,
    protocol: Protocol,
    seed: int,
    *,
    splits: Sequence[str] | None = None,
    classes: list[str] | None = None,
    skip_unreadable: bool = False,
    cache: float = 4.0,
    check_pixels: bool | None = None,
    least_side: int | None = None,
    cache_folder: Path | None = None,
) -> RunData:
    """Read a folder, split it, check it.

    Args:
        folder: with labels.csv.
        protocol: assigns the splits.
        seed: of the protocol's draws.
        splits: the only ones to keep; None keeps all.
        classes: those of a trained model; None takes the labels of the training split.
        skip_unreadable: leave out what cannot be read.
        cache: gigabytes of decoded images to keep.
        check_pixels: decode every image once now; None: where there are at most `lookright.data.samples.CHECKED`.
        least_side: as in `lookright.data.samples.read_samples`.
        cache_folder: likewise.

    Raises:
        InputError: whatever is wrong with the folder, its table, its splits or its files.
    """
    table = read_table(folder)
    encoding = folder_encoding(folder, table)
    digest = fingerprint(folder, table)
    table = protocol.assign(table, seed).reset_index(drop=True)
    present = sorted(set(table["split"]) - {""})
    for split in splits if splits is not None else ["train"] if classes is None else []:
        if split not in present:
            raise InputError(
                f"No image in split {split!r} of {str(folder)!r}; its splits are {', '.join(present) or 'none'}. "
                "Name one of them, or fill in the column split of labels.csv."
            )
    if classes is None:
        classes = class_names(table[table["split"] == "train"])
    if protocol.bona_fide is not None and protocol.bona_fide not in classes:
        raise InputError(
            f"bona_fide is {protocol.bona_fide!r}, which no training image of {str(folder)!r} has as its label. "
            f"Expected one of {', '.join(classes)}."
        )
    table = table[table["split"].isin(splits if splits is not None else present)].reset_index(drop=True)
    for split in table["split"].unique():
        rows = table[table["split"] == split]
        unknown = sorted(set(rows["label"]) - set(classes))
        if unknown and split not in protocol.open_set_splits:
            raise InputError(
                f"Split {split!r} of {str(folder)!r} has the label {unknown[0]!r}, which training never saw; it knows "
                f"{', '.join(classes)}. Correct the label, or use a protocol that declares the split open-set."
            )
    table, samples, skipped = read_samples(
        folder, table, skip_unreadable, cache, encoding, check_pixels, least_side, cache_folder
    )
    domains = sorted(set(table["domain"])) if "domain" in table else []
    groups = sorted(set(groups_of(table)) - {""})
    return RunData(table, samples, classes, domains, groups, digest, skipped)


def permute_labels(data: RunData, seed: int) -> None:
    """Give the training images one another's labels at random, in place: each class stays as large as it is."""
    rows = data.rows("train").index
    data.table.loc[rows, "label"] = np.random.default_rng(seed).permutation(data.table.loc[rows, "label"].to_numpy(str))
    data.groups = sorted(set(groups_of(data.table)) - {""})


def thin_out_masks(table: pd.DataFrame, share: float, seed: int) -> None:
    """Take away the masks of a random 1 − share of the masked training rows, in place."""
    masked = np.flatnonzero((table["split"] == "train") & (table["mask_weight"] > 0))
    drop = np.random.default_rng(seed).permutation(masked)[round(share * len(masked)) :]
    table.loc[table.index[drop], "mask_weight"] = 0.0
