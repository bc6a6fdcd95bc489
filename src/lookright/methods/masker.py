"""Networks that make masks: soft ones from an image, logits of one from features."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.errors import InputError


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    # Not BatchNorm: the masks that the classifier follows would be others than those that the masker is trained on, by
    # as much as its running statistics lag behind.
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, outputs), nn.ReLU())


class Masker(nn.Module):
    """Three blocks of 3 × 3 convolution, GroupNorm and ReLU, the first two of stride 2, and a convolution to the mask.

    The convolutions of a value of the mask see 27 × 27 pixels, its normalisation all of them; it is computed on a
    quarter of the grid and enlarged bilinearly.

    Args:
        channels: of the image.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_block(channels, 32, stride=2), _block(32, 64, stride=2), _block(64, 32))
        self.last = nn.Conv2d(32, 1, 3, padding=1)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
        """A mask in (0, 1) of the image's size."""
        return _mask(self.last(self.blocks(image)), image)


class UNetMasker(nn.Module):
    """A small U-Net: four scales of 16, 32, 64 and 64 channels, the finest at half the image's size.

    The convolutions of a value of the mask see 79 × 79 pixels, its normalisation all of them.

    Args:
        channels: of the image.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                _block(channels, 16, stride=2),
                _block(16, 32, stride=2),
                _block(32, 64, stride=2),
                _block(64, 64, stride=2),
            ]
        )
        self.up = nn.ModuleList([_block(64 + 64, 64), _block(64 + 32, 32), _block(32 + 16, 16)])
        self.last = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
        """A mask in (0, 1) of the image's size."""
        scales = [image]
        for block in self.down:
            scales.append(block(scales[-1]))
        features = scales.pop()
        for block in self.up:
            finer = scales.pop()
            features = block(torch.cat([functional.interpolate(features, finer.shape[2:], mode="bilinear"), finer], 1))
        return _mask(self.last(features), image)


class FeatureMasker(nn.Module):
    """Makes masks from what a trained model sees at each of its scales, joined from coarse to fine.

    Each scale is brought to the same channels by a 1 × 1 convolution and added to the enlarged coarser one, then comes
    a 3 × 3 convolution, GroupNorm and ReLU. Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017
    (arXiv 1612.03144).

    Args:
        model: of timm, one with `forward_intermediates`; it learns, and stays in eval mode.
        image: one as it will see, to tell the scales from.
        channels: of each joined scale.

    Raises:
        InputError: the model has no `forward_intermediates`, or does not take such images.
    """

    def __init__(self, model: nn.Module, image: Float[Tensor, "B C H W"], channels: int = 64) -> None:
        super().__init__()
        if not hasattr(model, "forward_intermediates"):
            raise InputError(
                f"{type(model).__name__} has no forward_intermediates; expected a model of timm that has, as resnet18."
            )
        self.model: Any = model.eval()
        try:
            with torch.no_grad():
                scales = self._scales(image)
        except Exception as error:  # whatever a model makes of images that it does not expect
            height, width = image.shape[2:]
            raise InputError(
                f"{type(model).__name__} sees nothing in images of {height} by {width} pixels: {error} Expected "
                "images of the size that the model is made for."
            ) from error
        self.sideways = nn.ModuleList([nn.Conv2d(scale.shape[1], channels, 1) for scale in scales])
        self.up = nn.ModuleList([_block(channels, channels) for _ in scales])
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def train(self, mode: bool = True) -> "FeatureMasker":
        """Learn or not; the model stays in eval mode, so that its normalisation and dropout do."""
        super().train(mode)
        self.model.eval()
        return self

    def _scales(self, image: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        scales = self.model.forward_intermediates(image, intermediates_only=True)
        return list({scale.shape[2:]: scale for scale in scales}.values())  # the deepest of each size

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
        """A mask in (0, 1) of the image's size."""
        joined: Tensor | None = None
        layers = list(zip(self._scales(image), self.sideways, self.up, strict=True))
        for scale, sideways, block in reversed(layers):
            finer = sideways(scale)
            if joined is not None:
                finer = finer + functional.interpolate(joined, finer.shape[2:], mode="bilinear")
            joined = block(finer)
        return _mask(self.last(joined), image)


def _mask(logit: Float[Tensor, "B 1 h w"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    # Enlarged before the sigmoid: the mask's edges become steeper than its grid.
    return functional.interpolate(logit.to(image.dtype), image.shape[2:], mode="bilinear")[:, 0].sigmoid()


def require_hidden(hidden: int) -> None:
    """Refuse a width that the eight groups of a GroupNorm cannot share.

    Raises:
        InputError: it is no multiple of 8.
    """
    if hidden < 8 or hidden % 8:
        raise InputError(f"hidden={hidden}; expected a multiple of 8.")


class MaskEstimator(nn.Module):
    """A 3 × 3 convolution, three residual blocks, the mean of the image added, and a 1 × 1 convolution to one logit.

    Args:
        channels: of the features.
        hidden: channels of its own, a multiple of 8.
    """

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.first = _block(channels, hidden)
        self.residual = nn.ModuleList(nn.Sequential(_block(hidden, hidden), _block(hidden, hidden)) for _ in range(3))
        self.last = nn.Conv2d(hidden, 1, 1)

    def forward(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N h w"]:
        """A logit for each cell."""
        hidden = self.first(features)
        for block in self.residual:
            hidden = hidden + block(hidden)
        return self.last(hidden + hidden.mean((2, 3), keepdim=True))[:, 0]
