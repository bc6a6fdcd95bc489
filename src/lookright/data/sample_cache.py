"""Decoded samples that a process shares with those that it forks, in memory or in a file."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torchvision import tv_tensors

from lookright.errors import InputError


class SampleCache:
    """Keeps decoded images and their masks as bytes, the first ones of a table as far as there is room.

    The memory is mapped before data loaders fork their workers, so that what one decodes all have. Memory is used as
    samples come in. A process that is not forked but started anew gets an empty cache that keeps nothing.

    In a file, samples stay for the next process, and the file system's cache takes as much memory as is free.

    Args:
        sizes: height and width of each sample.
        gigabytes: of room.
        file: to keep them in; None: in memory. Its name must tell all that samples depend on.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]] | Int[np.ndarray, "n 2"], gigabytes: float, file: Path | None = None
    ) -> None:
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        ends = np.cumsum(self.sizes.prod(1) * 5)  # three channels and two planes of a mask
        self.kept = int(np.searchsorted(ends, gigabytes * 1e9, side="right"))
        self.starts = np.concatenate([[0], ends])[: self.kept + 1]
        length = int(self.starts[-1]) + self.kept
        self._memory = np.frombuffer(_mapped(length, file), np.uint8) if self.kept else None

    def __len__(self) -> int:
        """Samples that are there."""
        return int((self._planes() > 0).sum())

    def get(self, position: int) -> tuple[tv_tensors.Image, tv_tensors.Mask | None] | None:
        """A sample, or None where it is not kept. What is handed out is a copy."""
        if self._memory is None or position >= self.kept or not (planes := int(self._planes()[position])):
            return None
        height, width = self.sizes[position].tolist()
        values = torch.from_numpy(self._slot(position)[: (2 + planes) * height * width].copy())
        values = values.view(2 + planes, height, width)
        return tv_tensors.Image(values[:3]), tv_tensors.Mask(values[3:]) if planes > 1 else None

    def put(self, position: int, image: tv_tensors.Image, mask: tv_tensors.Mask | None) -> None:
        """Keep a sample if there is room and its mask is one of bytes."""
        if self._memory is None or position >= self.kept or (mask is not None and mask.dtype != torch.uint8):
            return
        slot, pixels = self._slot(position), image.numpy().reshape(-1)
        slot[: len(pixels)] = pixels
        if mask is not None:
            slot[len(pixels) : len(pixels) + mask.numel()] = mask.numpy().reshape(-1)
        self._planes()[position] = 1 + (0 if mask is None else len(mask))

    def _planes(self) -> np.ndarray:
        """For each sample 0 (not there) or 1 and the number of its mask's planes; behind all pixels."""
        return np.zeros(0, np.uint8) if self._memory is None else self._memory[len(self._memory) - self.kept :]

    def _slot(self, position: int) -> np.ndarray:
        assert self._memory is not None
        return self._memory[self.starts[position] : self.starts[position + 1]]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_memory": None}


def _mapped(length: int, file: Path | None) -> mmap.mmap:
    if file is None:
        return mmap.mmap(-1, length)
    path = file.with_name(f"{file.name}-{length}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as opened:
            opened.truncate(length)  # where nothing was written, the file takes no room
            return mmap.mmap(opened.fileno(), length)
    except OSError as error:
        raise InputError(
            f"Cannot keep images in {str(path)!r}: {error.strerror}. Name a folder to write to, or leave out "
            "--cache-folder."
        ) from error
