"""Faithfulness: does the map say what the classifier itself uses?

Pixels are taken in decreasing order of the map, which is resized bilinearly to the image. Pixels with equal values are
taken in a fixed pseudo-random order, the same for every image of a size: a raster order would favour the top of the
image, so that a flat map scores what a random order scores. Clip or take the absolute value of a map first if the sign
of its values shall not count. A map with a NaN has no order: its values are NaN.

The classifier runs in eval mode without gradients and gets its modes back; `chunk_size` images go through it at a time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.normalise import minmax
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.metrics.alignment import resize
from lookright.metrics.mean import MeanOverDefined
from lookright.perturb import Blur, Perturbation, ZeroFill

RISE_BLUR = Blur(sigma=5 / 224, truncate=1.0)
"""An 11 x 11 Gaussian of sigma 5 for an image 224 pixels wide, in proportion for others (Petsiuk et al., 2018)."""

ZERO = ZeroFill()

PERCENTAGES = (1, 5, 10, 20, 50)


def insertion(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    steps: int = 28,
    fill: Perturbation = RISE_BLUR,
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, "B points"]:
    """The target's probability while the pixels of the image replace those of its blurred self, highest first.

    Petsiuk et al., "RISE", BMVC 2018; higher is better. 28 steps are their 224 x 8 pixels a step.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        map: (B, h, w), on any grid.
        target: (B), the class whose softmax probability is followed.
        steps: into how many equal parts the pixels are divided.
        fill: what stands in for the pixels that are away. With `Inpaint` it follows from the pixels that are there,
            so that the shape of the removed region gives no hint of the class (Rong et al., "ROAD", ICML 2022).
        generator: for a random `fill`.
        chunk_size: how many images go through the classifier at a time.

    Returns:
        (B, steps + 1), from the filled image to the image itself; see `auc`.
    """
    kept = [step / steps for step in range(steps + 1)]
    return _probability(classifier, image, map, target, kept, True, fill, generator, chunk_size)


def deletion(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    steps: int = 28,
    fill: Perturbation = ZERO,
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, "B points"]:
    """The target's probability while the pixels of the image are taken away, highest first; lower is better.

    Petsiuk et al., "RISE", BMVC 2018. Arguments as in `insertion`.

    Returns:
        (B, steps + 1), from the image itself to the filled image; see `auc`.
    """
    removed = [step / steps for step in range(steps + 1)]
    return _probability(classifier, image, map, target, removed, False, fill, generator, chunk_size)


def auc(curve: Float[Tensor, "*B points"]) -> Float[Tensor, "*B"]:
    """Area under a curve over [0, 1] by the trapezoidal rule.

    >>> auc(torch.tensor([[0.0, 1.0, 1.0]]))
    tensor([0.7500])
    """
    return torch.trapezoid(curve, dx=1 / (curve.shape[-1] - 1))


def sufficiency(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = ZERO,
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Mean over q of p(x) − p(only the top q % of x's pixels): lower is better, in [−1, 1].

    DeYoung et al., "ERASER", ACL 2020, section 4.2, for pixels. Arguments as in `insertion`.
    """
    return _drop(classifier, image, map, target, percentages, True, fill, generator, chunk_size)


def comprehensiveness(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = ZERO,
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Mean over q of p(x) − p(x without its top q % of pixels): higher is better, in [−1, 1].

    DeYoung et al., "ERASER", ACL 2020, section 4.2, for pixels. Arguments as in `insertion`.
    """
    return _drop(classifier, image, map, target, percentages, False, fill, generator, chunk_size)


def _drop(
    classifier: Classifier,
    image: Tensor,
    map: Tensor,
    target: Tensor,
    percentages: tuple[float, ...],
    keep_top: bool,
    fill: Perturbation,
    generator: torch.Generator | None,
    chunk_size: int,
) -> Tensor:
    untouched = 1.0 if keep_top else 0.0
    shares = [untouched, *(percentage / 100 for percentage in percentages)]
    probability = _probability(classifier, image, map, target, shares, keep_top, fill, generator, chunk_size)
    return probability[:, 0] - probability[:, 1:].mean(1)


@torch.no_grad()
def _probability(
    classifier: Classifier,
    image: Tensor,
    map: Tensor,
    target: Tensor,
    shares: list[float],
    keep_top: bool,
    fill: Perturbation,
    generator: torch.Generator | None,
    chunk_size: int,
) -> Float[Tensor, "B points"]:
    """The target's probability for each share of top pixels that are kept (or, not keep_top, taken away)."""
    if map.ndim != 3 or len(map) != len(image):
        raise InputError(
            f"map has shape {tuple(map.shape)} and image {tuple(image.shape)}: "
            "expected (B, h, w) and (B, C, H, W), one map for each image"
        )
    if len(image) == 0:  # Not every model takes an empty batch.
        return map.new_empty(0, len(shares), dtype=torch.float32)
    rank = _rank(map, image.shape[-2:])
    pixels = image.shape[-2] * image.shape[-1]
    count = torch.tensor([round(share * pixels) for share in shares], device=image.device)
    filled = None if fill.reads_keep else fill(image, generator=generator)
    probability = []
    with evaluating(classifier):
        # Every (image, share) pair is one forward image; a chunk of them may span several images.
        for pair in torch.arange(len(image) * len(shares), device=image.device).split(chunk_size):
            index, point = pair // len(shares), pair % len(shares)
            top = rank[index] < count[point, None, None]
            keep = top if keep_top else ~top
            removed = fill(image[index], keep.to(image.dtype), generator) if filled is None else filled[index]
            logits = classifier(torch.where(keep.unsqueeze(1), image[index], removed)).logits
            probability.append(logits.float().softmax(1).gather(1, target[index].unsqueeze(1)))
    curve = torch.cat(probability).view(len(image), len(shares))
    return torch.where(map.isnan().flatten(1).any(1, keepdim=True), torch.nan, curve)


def _rank(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Int[Tensor, "B H W"]:
    """The place of each pixel in decreasing order of the map, from 0."""
    value = resize(minmax(map.float()), size).flatten(1)
    # What resizing adds to equal values by rounding shall not order them.
    value = (value * 2**20).round()
    shuffled = torch.randperm(value.shape[1], generator=torch.Generator().manual_seed(0)).to(map.device)
    order = shuffled[value[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    place = torch.arange(order.shape[1], device=map.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place).view(-1, *size)


class _Faithfulness(MeanOverDefined):
    """Mean of a faithfulness function over the images for which it is defined."""

    def __init__(self, function: Callable[..., Tensor], shape: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(shape, **kwargs)
        self.function = function

    def update(  # type: ignore[override]
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        map: Float[Tensor, "B h w"],
        target: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> None:
        """Count images in; arguments as in `insertion`."""
        self.add(self.function(classifier, image, map, target, generator=generator))


class _Curve(_Faithfulness):
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    @property
    def curve(self) -> Float[Tensor, " points"]:
        """The mean curve over the defined images."""
        return self.total / self.defined

    def compute(self) -> Float[Tensor, ""]:
        """The mean area under the curve, which is the area under the mean curve."""
        return auc(self.curve)


class Insertion(_Curve):
    """Mean area under the curve of `insertion`; `curve` is the mean curve. Arguments as there."""

    higher_is_better = True

    def __init__(self, steps: int = 28, fill: Perturbation = RISE_BLUR, chunk_size: int = 128, **kwargs: Any) -> None:
        super().__init__(partial(insertion, steps=steps, fill=fill, chunk_size=chunk_size), (steps + 1,), **kwargs)


class Deletion(_Curve):
    """Mean area under the curve of `deletion`; `curve` is the mean curve. Arguments as there."""

    higher_is_better = False

    def __init__(self, steps: int = 28, fill: Perturbation = ZERO, chunk_size: int = 128, **kwargs: Any) -> None:
        super().__init__(partial(deletion, steps=steps, fill=fill, chunk_size=chunk_size), (steps + 1,), **kwargs)


class Sufficiency(_Faithfulness):
    """Mean of `sufficiency`. Arguments as there."""

    higher_is_better = False

    def __init__(
        self,
        percentages: tuple[float, ...] = PERCENTAGES,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(partial(sufficiency, percentages=percentages, fill=fill, chunk_size=chunk_size), **kwargs)


class Comprehensiveness(_Faithfulness):
    """Mean of `comprehensiveness`. Arguments as there."""

    higher_is_better = True

    def __init__(
        self,
        percentages: tuple[float, ...] = PERCENTAGES,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            partial(comprehensiveness, percentages=percentages, fill=fill, chunk_size=chunk_size), **kwargs
        )
