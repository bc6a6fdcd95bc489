"""Which layouts a tensor's shape allows."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from lookright.classifier.grid import Grid

MAXIMUM_EXTRA = 64
"""Tokens that are no patches: class, registers, prompts."""

Size = tuple[int, int]


def layouts(
    shape: torch.Size, image_shape: torch.Size, sizes: Sequence[Size], module: nn.Module | None = None
) -> Iterator[Grid]:
    """The layouts of a map of at least two positions that a shape allows, the likeliest first.

    Tokens are guessed to have all others before them; where the patches really are is to be tested.

    Args:
        shape: of the tensor.
        image_shape: (B, C, H, W).
        sizes: (h, w) of maps met earlier in the same forward, the latest first.
        module: what hands the tensor out: convolution, pooling and batch normalisation tell the axes.
    """
    batch = image_shape[0]
    if len(shape) == 4 and shape[0] == batch:
        yield from _maps(shape, image_shape, sizes, module)
    elif len(shape) == 3 and batch in shape[:2] and shape[2] > 1:
        axes = "BNC" if shape[0] == batch else "NBC"
        tokens = shape[1] if axes == "BNC" else shape[0]
        known = [size for size in dict.fromkeys(sizes) if 1 < math.prod(size) <= tokens]
        for size in sorted(known, key=lambda size: -math.prod(size)):
            if tokens - math.prod(size) <= MAXIMUM_EXTRA:
                yield Grid(axes, size, tokens - math.prod(size))  # type: ignore[arg-type]
        for extra in range(min(MAXIMUM_EXTRA // 4, tokens - 2) + 1):
            for size in _factors(tokens - extra):
                if size not in known and _fits(size, image_shape):
                    yield Grid(axes, size, extra)  # type: ignore[arg-type]


def _maps(shape: torch.Size, image_shape: torch.Size, sizes: Sequence[Size], module: nn.Module | None) -> list[Grid]:
    first, last = (shape[2], shape[3]), (shape[1], shape[2])
    if isinstance(module, (nn.Conv2d, _BatchNorm, _AvgPoolNd, _MaxPoolNd)):
        return [Grid("BCHW")] if math.prod(first) > 1 else []
    for is_map in (lambda size: size in sizes, lambda size: _fits(size, image_shape)):
        found = [Grid(axes) for axes, size in (("BCHW", first), ("BHWC", last)) if math.prod(size) > 1 and is_map(size)]  # type: ignore[arg-type]
        if found:
            return found
    return []


def size_of(grid: Grid, shape: torch.Size) -> Size:
    """(h, w) of a tensor of that shape."""
    if grid.size is not None:
        return grid.size
    return (shape[2], shape[3]) if grid.axes == "BCHW" else (shape[1], shape[2])


def _fits(size: Size, image_shape: torch.Size) -> bool:
    """Whether these are several positions in the proportions of the image."""
    (rows, columns), (height, width) = size, image_shape[2:]
    return rows * columns > 1 and rows <= height and abs(rows - columns * height / width) < 1


def _factors(number: int) -> list[Size]:
    return [(rows, number // rows) for rows in range(1, number + 1) if number % rows == 0]
