"""How a model lays out its spatial features, and the way to (B, C, h, w) and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lookright.errors import InputError

MAXIMUM_PREFIX = 16


@dataclass(frozen=True)
class Grid:
    """The layout of a spatial tensor.

    Attributes:
        axes: "BCHW", "BHWC" or "BNC" (tokens, row by row).
        prefix: tokens before the patches: class, distillation and register tokens.
        aspect: (h / w) / (H / W), which is 1 for square patches.
    """

    axes: Literal["BCHW", "BHWC", "BNC"]
    prefix: int = 0
    aspect: float = 1.0

    def features(self, tensor: Tensor, image_size: Sequence[int]) -> Tensor:
        """The tensor as (B, C, h, w): a view, without the prefix tokens."""
        if self.axes == "BCHW":
            return tensor
        if self.axes == "BHWC":
            return tensor.permute(0, 3, 1, 2)
        patches = tensor[:, self.prefix :]
        ratio = self.aspect * image_size[0] / image_size[1]
        rows, columns = min(_factors(patches.shape[1]), key=lambda size: abs(math.log(size[0] / size[1] / ratio)))
        if abs(rows - columns * ratio) >= 1:
            raise InputError(
                f"{patches.shape[1]} patch tokens do not fill a grid with the shape of the image, {tuple(image_size)}. "
                "Maps need every patch: switch patch dropout and token pruning off."
            )
        return patches.transpose(1, 2).unflatten(2, (rows, columns))

    def restore(self, features: Tensor, tensor: Tensor) -> Tensor:
        """The way back from (B, C, h, w); the prefix tokens are taken from `tensor`."""
        if self.axes == "BCHW":
            return features
        if self.axes == "BHWC":
            return features.permute(0, 2, 3, 1)
        patches = features.flatten(2).transpose(1, 2)
        return torch.cat([tensor[:, : self.prefix], patches], 1) if self.prefix else patches


def find_grid(
    shape: torch.Size, image_shape: torch.Size, sizes: Sequence[tuple[int, int]] = (), prefix: int | None = None
) -> Grid | None:
    """The layout of a tensor of this shape, or None if it is not a map of at least two positions.

    Args:
        shape: of the tensor.
        image_shape: (B, C, H, W).
        sizes: (h, w) of maps met earlier in the same forward, the latest first: tokens are matched with them.
        prefix: the number of prefix tokens, where the model tells it.
    """
    batch, ratio = image_shape[0], image_shape[2] / image_shape[3]
    if len(shape) not in (3, 4) or shape[0] != batch:
        return None
    if len(shape) == 4:
        if _fits(shape[2], shape[3], image_shape):
            return Grid("BCHW")
        return Grid("BHWC") if _fits(shape[1], shape[2], image_shape) else None
    tokens, channels = shape[1:]
    if channels == 1:
        return None
    for rows, columns in sizes:
        if rows * columns > 1 and tokens - rows * columns == prefix:
            return Grid("BNC", prefix, rows / columns / ratio)
    for rows, columns in sizes:
        if rows * columns > 1 and 0 <= tokens - rows * columns <= MAXIMUM_PREFIX and prefix is None:
            return Grid("BNC", tokens - rows * columns, rows / columns / ratio)
    if sizes and channels == sizes[0][0] * sizes[0][1]:  # (B, C, tokens).
        return None
    for number in range(MAXIMUM_PREFIX + 1) if prefix is None else (prefix, 0):
        if any(_fits(*size, image_shape) for size in _factors(tokens - number)):
            return Grid("BNC", number)
    return None


def _fits(rows: int, columns: int, image_shape: torch.Size) -> bool:
    """Whether these are several positions in the proportions of the image."""
    height, width = image_shape[2:]
    return rows * columns > 1 and rows <= height and abs(rows - columns * height / width) < 1


def _factors(number: int) -> list[tuple[int, int]]:
    return [(rows, number // rows) for rows in range(1, number + 1) if number % rows == 0]
