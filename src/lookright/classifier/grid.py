"""How a model lays out its spatial features, and the way to (B, C, h, w) and back."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lookright.errors import InputError


@dataclass(frozen=True)
class Grid:
    """The layout of a spatial tensor.

    Attributes:
        axes: "BCHW", "BHWC", or tokens row by row: "BNC", "NBC".
        size: (h, w) of the tokens; None where the axes say it.
        prefix: tokens before the patches: class, distillation and register tokens.
        suffix: tokens behind them.
    """

    axes: Literal["BCHW", "BHWC", "BNC", "NBC"]
    size: tuple[int, int] | None = None
    prefix: int = 0
    suffix: int = 0

    def features(self, tensor: Tensor) -> Tensor:
        """The tensor as (B, C, h, w): a view, without the tokens around the patches."""
        if self.axes == "BCHW":
            return tensor
        if self.axes == "BHWC":
            return tensor.permute(0, 3, 1, 2)
        tokens = tensor.transpose(0, 1) if self.axes == "NBC" else tensor
        assert self.size is not None
        rows, columns = self.size
        if tokens.shape[1] != self.prefix + rows * columns + self.suffix:
            raise InputError(
                f"{tokens.shape[1]} tokens came where {self.prefix} + {rows} × {columns} + {self.suffix} were "
                "expected. Maps need every patch: switch patch dropout and token pruning off."
            )
        return tokens[:, self.prefix : self.prefix + rows * columns].transpose(1, 2).unflatten(2, (rows, columns))

    def restore(self, features: Tensor, tensor: Tensor) -> Tensor:
        """The way back from (B, C, h, w); the tokens around the patches are taken from `tensor`."""
        if self.axes == "BCHW":
            return features
        if self.axes == "BHWC":
            return features.permute(0, 2, 3, 1)
        patches = features.flatten(2).transpose(1, 2)
        tokens = tensor.transpose(0, 1) if self.axes == "NBC" else tensor
        if self.prefix or self.suffix:
            patches = torch.cat([tokens[:, : self.prefix], patches, tokens[:, self.prefix + patches.shape[1] :]], 1)
        return patches.transpose(0, 1) if self.axes == "NBC" else patches
