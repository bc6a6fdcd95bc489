"""What happens to pixels before a model sees them, in one place for everybody who feeds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms import v2

from lookright.data.dataset import Collate

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Preprocessing:
    """Bytes are resized, then normalised by (value / 255 − mean) / std.

    Attributes:
        size: side of the square, in pixels.
        mean: per channel of the model, of values in [0, 1]; for a model of one channel, colour becomes grey.
        std: per channel.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]

    def resize(self, *images: Any) -> Any:
        """Images, or an image and its mask, to the square; antialiased."""
        return v2.Resize((self.size, self.size), antialias=True)(*images)

    def collate(self) -> Collate:
        """Joins samples of this size into a batch."""
        return Collate(self.mean, self.std)

    def __call__(self, images: Sequence[UInt8[Tensor, "C _ _"]]) -> Float[Tensor, "B channels size size"]:
        """The model's input for images of any size."""
        return self.collate().normalise(torch.stack([self.resize(image).as_subclass(Tensor) for image in images]))
