"""Images and their masks, decoded once and kept while there is room."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torchvision import tv_tensors

from lookright.data.images import read_box, read_image, read_mask
from lookright.errors import InputError


class Sample(NamedTuple):
    """A decoded image (3, H, W) and its mask (1, H, W), both uint8 where that is exact; None: it has no mask."""

    image: tv_tensors.Image
    mask: tv_tensors.Mask | None


class Samples(Sequence[Sample]):
    """The samples of a table: kept, or decoded from their files whenever one is asked for.

    Args:
        folder: that the table names files in.
        rows: of the table.
        kept: for each row its sample, or None where it is not kept.
    """

    def __init__(self, folder: Path, rows: Sequence[dict[Any, Any]], kept: Sequence[Sample | None]) -> None:
        self.folder = folder
        self.rows = rows
        self.kept = kept

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.kept[index] or _read_sample(self.folder, self.rows[index])

    def of_rows(self, rows: Iterable[int]) -> "Samples":
        """The samples of some rows."""
        rows = list(rows)
        return Samples(self.folder, [self.rows[row] for row in rows], [self.kept[row] for row in rows])


def read_samples(
    folder: Path, table: pd.DataFrame, skip_unreadable: bool = False, cache: float = 4.0
) -> tuple[pd.DataFrame, Samples, list[str]]:
    """Decode every image and mask of a table once, so that a broken file is found before training and not during it.

    Args:
        folder: that the table names files in.
        table: with the column `image`, and `mask` or `box` where there are some.
        skip_unreadable: leave out what cannot be read.
        cache: gigabytes of decoded samples to keep; the others are decoded again whenever they are asked for.

    Returns:
        The rows that could be read, their samples, and what was wrong with the others.

    Raises:
        InputError: a file cannot be read (unless `skip_unreadable`), or a mask is not of its image's size.
    """
    rows: list[dict[Any, Any]] = table.to_dict("records")
    readable: list[int] = []
    kept: list[Sample | None] = []
    skipped: list[str] = []
    room = cache * 1e9
    # One thread: for small files the lock of the interpreter makes several threads slower, not faster.
    for index, row in enumerate(rows):
        try:
            sample = _read_sample(folder, row)
        except InputError as error:
            if not skip_unreadable:
                raise
            skipped.append(str(error))
            continue
        size = sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)
        fits = size <= room
        room -= size if fits else 0
        readable.append(index)
        kept.append(sample if fits else None)
    return (
        table.iloc[readable].reset_index(drop=True),
        Samples(folder, [rows[index] for index in readable], kept),
        skipped,
    )


def _read_sample(folder: Path, row: dict[Any, Any]) -> Sample:
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
