"""Images and their masks: headers are checked at once, pixels decoded when needed and kept while there is room."""

import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from lookright.data.encoding import Encoding, find_encoding, read_encoding
from lookright.data.images import Header, mask_pixels, read_box, read_header, read_planes, read_upright
from lookright.data.mask_pixels import FILE
from lookright.data.remembered import is_remembered, remember
from lookright.data.sample_cache import SampleCache
from lookright.data.table import mask_files
from lookright.errors import InputError

CHECKED = 20_000
"""Up to so many images are decoded before training unless the user says otherwise."""
_LOOKED_AT = 32  # masks that tell together what their numbers mean
_IN_THIS_PROCESS = 500  # samples that are decoded sooner than other processes have started
_REMEDY = "Mend it or its row of labels.csv, or train without such images: --skip-unreadable."
COLUMNS = ("image", "mask", "box", "mask_value", "mask_ignore", "mask_polarity", "box_format", "box_unit")


class Sample(NamedTuple):
    """A decoded image (3, H, W) and its mask, both uint8 where that is exact; None: it has no mask.

    The mask has one plane, (1, H, W): the evidence; or two, (2, H, W): the second says what is to be ignored.
    """

    image: tv_tensors.Image
    mask: tv_tensors.Mask | None


class Samples(Sequence):  # not Sequence[Sample]: who checks types looks at items, and each is a file
    """The samples of a table, decoded from their files or taken from the cache.

    Args:
        folder: that the table names files in.
        columns: of the table.
        encoding: of its masks.
        cache: of decoded samples; None keeps none.
        positions: of the samples in the table; None takes all.
        least_side: as in `lookright.data.images.read_image`; masks become as small as their images.
    """

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, Sequence[str]],
        encoding: Encoding,
        cache: SampleCache | None = None,
        positions: Sequence[int] | None = None,
        least_side: int | None = None,
    ) -> None:
        self.folder = folder
        self.least_side = least_side
        self.columns = columns
        self.encoding = encoding
        self.cache = cache
        self.positions = range(len(columns["image"])) if positions is None else positions
        self.stamps = np.empty((0, 2), np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        position = self.positions[index]
        found = self.cache.get(position) if self.cache is not None else None
        if found is None:
            row = {name: column[position] for name, column in self.columns.items()}
            found = _read_sample(self.folder, row, self.encoding, self.least_side)
            if self.cache is not None:
                self.cache.put(position, *found)
        return Sample(*found)

    def of_rows(self, rows: Iterable[int]) -> "Samples":
        """The samples of some rows."""
        positions = [self.positions[row] for row in rows]
        part = Samples(self.folder, self.columns, self.encoding, self.cache, positions, self.least_side)
        part.stamps = self.stamps
        return part

    def require_unchanged(self) -> None:
        """Refuse files that were written since they were checked.

        Raises:
            InputError: what was computed from them is a mixture; nothing is to be reported of it.
        """
        now = _stamps(_files(self.folder, self.columns)) if len(self.stamps) else self.stamps
        places = np.flatnonzero((now != self.stamps).any(1))
        if len(places):
            first = next(islice(_files(self.folder, self.columns), int(places[0]), None))
            raise InputError(
                f"{len(places)} of {len(self.stamps)} files changed while they were in use, such as "
                f"{str(first)!r}. No result is written, and the last checkpoint is kept. Begin anew once the "
                "files stay as they are; if they were only touched, the same command with --resume goes on."
            )


def folder_encoding(folder: Path, table: pd.DataFrame) -> Encoding:
    """What a folder's masks mean: as its `encoding.yaml` says, or as some of them, spread over the table, tell.

    Raises:
        InputError: `encoding.yaml` cannot be read, or what the masks mean cannot be decided.
    """
    encoding = read_encoding(folder)
    if encoding.is_given or "mask" not in table:
        return encoding
    cells = table["mask"][table["mask"] != ""]
    if "mask_value" in table:
        cells = cells[table["mask_value"][cells.index] == ""]
    places = np.unique(np.linspace(0, max(len(cells) - 1, 0), min(_LOOKED_AT, len(cells))).round().astype(int))
    found = []
    for cell in cells.iloc[places]:
        try:
            found += mask_pixels(mask_files(folder, cell), encoding)
        except InputError as error:
            # A broken file is told with its row; it tells nothing about the others.
            if FILE in str(error):
                raise
    return find_encoding(encoding, found)


def read_samples(
    folder: Path,
    table: pd.DataFrame,
    skip_unreadable: bool = False,
    cache: float = 4.0,
    encoding: Encoding | None = None,
    check_pixels: bool | None = None,
    least_side: int | None = None,
    cache_folder: Path | None = None,
) -> tuple[pd.DataFrame, Samples, list[str]]:
    """Check every file of a table by its header and, if wanted, by its pixels; decode when asked for a sample.

    A check of the pixels finds a truncated file before training and not during it. It runs in parallel, fills the
    cache, and is remembered for as long as no file changes.

    Args:
        folder: that the table names files in.
        table: with the column `image`, and `mask` or `box` where there are some.
        skip_unreadable: leave out what cannot be read.
        cache: gigabytes of decoded samples to keep; the others are decoded again whenever they are asked for.
        encoding: what the masks mean; None: see `folder_encoding`.
        check_pixels: decode every image once now; None: where there are at most `CHECKED`.
        least_side: as in `Samples`.
        cache_folder: keep them in a file of this folder, where the next run finds them, and not in memory.

    Returns:
        The rows that could be read, their samples, and what was wrong with the others.

    Raises:
        InputError: a file cannot be read (unless `skip_unreadable`), a mask is not of its image's size, or what masks
            mean cannot be decided.
    """
    encoding = folder_encoding(folder, table) if encoding is None else encoding
    columns = {name: table[name].tolist() for name in COLUMNS if name in table}
    sizes = np.zeros((len(table), 2), np.int64)
    wrong: dict[int, str] = {}
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        try:
            sizes[index] = _check_header(folder, dict(zip(columns, values, strict=True)), encoding, least_side)
        except InputError as error:
            if not skip_unreadable:
                raise InputError(f"{error} {_REMEDY}") from error
            wrong[index] = str(error)
    samples = Samples(folder, columns, encoding, least_side=least_side)
    samples.stamps = _stamps(_files(folder, columns))
    state = _state(folder, columns, encoding, samples.stamps)
    if cache > 0:
        samples.cache = SampleCache(
            sizes, cache, cache_folder and cache_folder / f"{state[:32]}-{least_side or 'whole'}"
        )
    key = None if wrong else state
    wanted = len(table) <= CHECKED if check_pixels is None else check_pixels
    if wanted and not (key and is_remembered(key)):
        good = [index for index in range(len(table)) if index not in wrong]
        for index, message in _decode_all(samples, good):
            if not skip_unreadable:
                raise InputError(f"{message} {_REMEDY}")
            wrong[index] = message
        if key and not wrong:
            remember(key)
    readable = [index for index in range(len(table)) if index not in wrong]
    return (
        table.iloc[readable].reset_index(drop=True),
        samples if not wrong else samples.of_rows(readable),
        [wrong[index] for index in sorted(wrong)],
    )


def _decode_all(samples: Samples, indices: Sequence[int]) -> list[tuple[int, str]]:
    """What is wrong with which samples."""
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(indices) <= _IN_THIS_PROCESS or processes == 1:
        return _decode(samples, indices)
    parts = [indices[start : start + 256] for start in range(0, len(indices), 256)]
    forks = "fork" in multiprocessing.get_all_start_methods()  # shares the cache
    context = multiprocessing.get_context("fork" if forks else None)
    with ProcessPoolExecutor(processes, context, _begin, (samples,)) as pool:
        return [fault for faults in pool.map(_decode_part, parts) for fault in faults]


_samples: Samples | None = None


def _begin(samples: Samples) -> None:
    global _samples
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    _samples = samples


def _decode_part(indices: Sequence[int]) -> list[tuple[int, str]]:
    assert _samples is not None
    return _decode(_samples, indices)


def _decode(samples: Samples, indices: Sequence[int]) -> list[tuple[int, str]]:
    wrong = []
    for index in indices:
        try:
            samples[index]
        except InputError as error:
            wrong.append((index, str(error)))
    return wrong


def _state(
    folder: Path, columns: Mapping[str, Sequence[str]], encoding: Encoding, stamps: Int[np.ndarray, "F 2"]
) -> str:
    """What a check of the pixels holds for: changed by any change of a file."""
    digest = hashlib.sha256(f"{folder.resolve()}\0{encoding!r}".encode())
    for name, column in columns.items():
        digest.update(f"\0{name}".encode())
        for cell in column:
            digest.update(f"\0{cell}".encode())
    digest.update(stamps.tobytes())
    return digest.hexdigest()


def _files(folder: Path, columns: Mapping[str, Sequence[str]]) -> Iterator[Path]:
    """All images, then all masks."""
    for cell in columns["image"]:
        yield folder / cell
    for cell in columns.get("mask", ()):
        if cell:
            yield from mask_files(folder, cell)


def _stamps(files: Iterable[Path]) -> Int[np.ndarray, "F 2"]:
    """Size and time of each file; of one that is gone −1."""
    return np.array([_stamp(path) for path in files], np.int64).reshape(-1, 2)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _check_header(folder: Path, row: Mapping[Any, Any], encoding: Encoding, least_side: int | None) -> tuple[int, int]:
    """The height and width of the upright image once decoded; complains where its mask cannot belong to it."""
    header = read_header(folder / row["image"], least_side)
    if row.get("mask"):
        _turn(row, header, [read_header(file) for file in mask_files(folder, row["mask"])], encoding.of_row(row))
    width, height = header.decoded
    return height, width


def _read_sample(
    folder: Path, row: Mapping[Any, Any], encoding: Encoding, least_side: int | None
) -> tuple[tv_tensors.Image, tv_tensors.Mask | None]:
    image, header = read_upright(folder / row["image"], encoding.image_range, least_side)
    width, height = header.upright
    if row.get("mask"):
        encoding = encoding.of_row(row)
        files = mask_files(folder, row["mask"])
        turn = 1 if header.orientation == 1 else _turn(row, header, [read_header(file) for file in files], encoding)
        planes = read_planes(files, encoding, row.get("mask_value", ""), turn, row.get("mask_ignore", ""))
        mask = tv_tensors.Mask(torch.from_numpy(planes))
        if mask.shape[-2:] != (height, width):  # complains where it must not be resized
            _turn(row, header, [read_header(file) for file in files], encoding)
    elif row.get("box"):
        encoding = encoding.of_row(row)
        turn = _turn(row, header, [], encoding)
        if turn != 1:
            width, height = header.width, header.height
        mask = read_box(row["box"], height, width, folder / row["image"], encoding, turn)
    else:
        return image, None
    if mask.shape[-2:] != image.shape[-2:]:
        mask = functional.resize(mask, list(image.shape[-2:]))
    if not mask.is_floating_point():
        return image, mask
    bytes_ = mask.mul(255).round_().to(torch.uint8)
    return image, tv_tensors.Mask(bytes_) if torch.equal(bytes_ / 255, mask) else mask


def _turn(row: Mapping[Any, Any], image: Header, masks: Sequence[Header], encoding: Encoding) -> int:
    """The EXIF orientation by which a mask or box is to be turned to lie on its upright image; 1: it lies so already.

    Raises:
        InputError: it cannot be decided, or the mask has another size than its image.
    """
    turn = 1
    stored, upright = (image.width, image.height), image.upright
    if image.orientation > 1 and not any(mask.orientation > 1 for mask in masks):
        if encoding.drawn_on:
            turn = image.orientation if encoding.drawn_on == "stored" else 1
        elif stored != upright and masks:
            turn = image.orientation if masks[0].upright == stored else 1
        else:
            what = f"mask {row['mask']!r}" if masks else f"box {row['box']!r}"
            raise InputError(
                f"Image {row['image']!r} is turned by its EXIF orientation {image.orientation}, and its {what} does "
                "not tell whether it was drawn on the pixels as stored or on the upright picture. Say "
                f"'drawn_on: stored' or 'drawn_on: upright' in {FILE} beside labels.csv."
            )
    expected = upright if turn == 1 else stored
    for mask in masks:
        width, height = mask.upright
        if (width, height) == expected:
            continue
        same_aspect = abs(width * expected[1] - height * expected[0]) <= max(width, height, *expected)
        if not (same_aspect and encoding.resize):
            remedy = f" If masks are smaller or larger, say 'resize: true' in {FILE}." if same_aspect else ""
            raise InputError(
                f"Mask {row['mask']!r} has {width} by {height} pixels and its image {row['image']!r} "
                f"{expected[0]} by {expected[1]}; expected the same size.{remedy}"
            )
    return turn
