"""Faithfulness: does the map say what the classifier itself uses?

Pixels are taken in decreasing order of the map, which is resized bilinearly to the image. Pixels with equal values are
taken in a fixed pseudo-random order, the same for every image of a size: a raster order would favour the top of the
image, so that a flat map scores what a random order scores. Clip or take the absolute value of a map first if the sign
of its values shall not count. A map with a NaN has no order: its values are NaN.

What is followed is a score of the target (`score`):
- `probability`: softmax of several logits. A single logit z speaks for label 1: sigmoid(z) for target 1, sigmoid(−z)
  for target 0.
- `sigmoid`: of the target's own logit, for labels that do not exclude each other.
- `logit`: the target's logit itself (a single logit: z for target 1, −z for target 0), which over-confidence does not
  bend and whose range differs between models.

The classifier runs in eval mode without gradients and gets its modes back; `chunk_size` images go through it at a time.
"""

from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError, require_one_of
from lookright.metrics.alignment import resize_in_order
from lookright.metrics.mean import MeanOverDefined
from lookright.perturb import Blur, Perturbation, ZeroFill

RISE_BLUR = Blur(sigma=5 / 224, truncate=1.0)
"""An 11 x 11 Gaussian of sigma 5 for an image 224 pixels wide, in proportion for others (Petsiuk et al., 2018)."""

ZERO = ZeroFill()

PERCENTAGES = (1, 5, 10, 20, 50)

Score = Literal["probability", "sigmoid", "logit"]


def insertion(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    steps: int = 28,
    fill: Perturbation = RISE_BLUR,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, "B points"]:
    """The target's probability while the pixels of the image replace those of its blurred self, highest first.

    Petsiuk et al., "RISE", BMVC 2018; higher is better. 28 steps are their 224 x 8 pixels a step.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        map: (B, h, w), on any grid.
        target: (B), the class that is followed.
        steps: into how many equal parts the pixels are divided.
        fill: what stands in for the pixels that are away. With `Inpaint` it follows from the pixels that are there,
            so that the shape of the removed region gives no hint of the class (Rong et al., "ROAD", ICML 2022).
        score: what of the class is followed: `probability`, `sigmoid` or `logit`, see above.
        generator: for a random `fill`.
        chunk_size: how many images go through the classifier at a time.

    Raises:
        InputError: shapes that do not fit, a target that is no class of the model, steps below 1.

    Returns:
        (B, steps + 1), from the filled image to the image itself; see `auc`.
    """
    return _follow(classifier, image, map, target, _shares(steps), True, fill, score, generator, chunk_size)


def deletion(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    steps: int = 28,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, "B points"]:
    """The target's probability while the pixels of the image are taken away, highest first; lower is better.

    Petsiuk et al., "RISE", BMVC 2018. Arguments as in `insertion`.

    Returns:
        (B, steps + 1), from the image itself to the filled image; see `auc`.
    """
    return _follow(classifier, image, map, target, _shares(steps), False, fill, score, generator, chunk_size)


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
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Mean over q of p(x) − p(only the top q % of x's pixels): lower is better, in [−1, 1].

    DeYoung et al., "ERASER", ACL 2020, section 4.2, for pixels. Arguments as in `insertion`.
    """
    return _drop(classifier, image, map, target, percentages, True, fill, score, generator, chunk_size)


def comprehensiveness(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Mean over q of p(x) − p(x without its top q % of pixels): higher is better, in [−1, 1].

    DeYoung et al., "ERASER", ACL 2020, section 4.2, for pixels. Arguments as in `insertion`.
    """
    return _drop(classifier, image, map, target, percentages, False, fill, score, generator, chunk_size)


def _drop(
    classifier: Classifier,
    image: Tensor,
    map: Tensor,
    target: Tensor,
    percentages: tuple[float, ...],
    keep_top: bool,
    fill: Perturbation,
    score: Score,
    generator: torch.Generator | None,
    chunk_size: int,
) -> Tensor:
    if not percentages or not all(0 < percentage <= 100 for percentage in percentages):
        raise InputError(f"percentages={percentages}; expected one or more above 0 and up to 100.")
    untouched = 1.0 if keep_top else 0.0
    shares = [untouched, *(percentage / 100 for percentage in percentages)]
    followed = _follow(classifier, image, map, target, shares, keep_top, fill, score, generator, chunk_size)
    return followed[:, 0] - followed[:, 1:].mean(1)


def _shares(steps: int) -> list[float]:
    if steps < 1:
        raise InputError(f"steps={steps}; expected 1 or more.")
    return [step / steps for step in range(steps + 1)]


@torch.no_grad()
def _follow(
    classifier: Classifier,
    image: Tensor,
    map: Tensor,
    target: Tensor,
    shares: list[float],
    keep_top: bool,
    fill: Perturbation,
    score: Score,
    generator: torch.Generator | None,
    chunk_size: int,
) -> Float[Tensor, "B points"]:
    """The target's score for each share of top pixels that are kept (or, not keep_top, taken away)."""
    require_one_of("score", score, ("probability", "sigmoid", "logit"))
    if map.ndim != 3 or len(map) != len(image):
        raise InputError(
            f"map has shape {tuple(map.shape)} and image {tuple(image.shape)}: "
            "expected (B, h, w) and (B, C, H, W), one map for each image"
        )
    if image.ndim != 4 or target.shape != image.shape[:1] or target.is_floating_point():
        raise InputError(
            f"image has shape {tuple(image.shape)} and target {tuple(target.shape)} of {target.dtype}: "
            "expected (B, C, H, W) and whole numbers (B,), one class for each image"
        )
    if chunk_size < 1:
        raise InputError(f"chunk_size={chunk_size}; expected 1 or more.")
    if len(image) == 0:  # Not every model takes an empty batch.
        return map.new_empty(0, len(shares), dtype=torch.float32)
    rank = _rank(map, image.shape[-2:])
    pixels = image.shape[-2] * image.shape[-1]
    count = torch.tensor([round(share * pixels) for share in shares], device=image.device)
    filled = None if fill.reads_keep else fill(image, generator=generator)
    scores = []
    with evaluating(classifier):
        # Every (image, share) pair is one forward image; a chunk of them may span several images.
        for pair in torch.arange(len(image) * len(shares), device=image.device).split(chunk_size):
            index, point = pair // len(shares), pair % len(shares)
            top = rank[index] < count[point, None, None]
            keep = top if keep_top else ~top
            removed = fill(image[index], keep.to(image.dtype), generator) if filled is None else filled[index]
            logits = classifier(torch.where(keep.unsqueeze(1), image[index], removed)).logits
            scores.append(_score(logits.float(), target[index], score))
    curve = torch.cat(scores).view(len(image), len(shares))
    return torch.where(map.isnan().flatten(1).any(1, keepdim=True), torch.nan, curve)


def _score(logits: Float[Tensor, "B K"], target: Int[Tensor, " B"], score: Score) -> Float[Tensor, " B"]:
    classes = max(logits.shape[1], 2)
    if not 0 <= target.min() <= target.max() < classes:
        raise InputError(f"target reaches from {target.min()} to {target.max()}: expected 0 to {classes - 1}")
    if logits.shape[1] == 1:
        own = torch.where(target == 1, logits[:, 0], -logits[:, 0])
        return own if score == "logit" else own.sigmoid()
    if score == "probability":
        logits = logits.softmax(1)
    own = logits.gather(1, target.unsqueeze(1))[:, 0]
    return own.sigmoid() if score == "sigmoid" else own


def _rank(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Int[Tensor, "B H W"]:
    """The place of each pixel in decreasing order of the map, from 0."""
    value = resize_in_order(map, size).flatten(1)
    shuffled = torch.randperm(value.shape[1], generator=torch.Generator().manual_seed(0)).to(map.device)
    order = shuffled[value[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    place = torch.arange(order.shape[1], device=map.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place).view(-1, *size)


class _Faithfulness(MeanOverDefined):
    """Mean of a faithfulness function over the images for which it is defined.

    Args:
        function: with its arguments.
        shape: of one image's value.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, function: partial[Tensor], shape: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(shape, of=function.keywords, **kwargs)
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

    def __init__(
        self,
        steps: int = 28,
        fill: Perturbation = RISE_BLUR,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        function = partial(insertion, steps=steps, fill=fill, chunk_size=chunk_size, score=score)
        super().__init__(function, (steps + 1,), **kwargs)


class Deletion(_Curve):
    """Mean area under the curve of `deletion`; `curve` is the mean curve. Arguments as there."""

    higher_is_better = False

    def __init__(
        self,
        steps: int = 28,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        function = partial(deletion, steps=steps, fill=fill, chunk_size=chunk_size, score=score)
        super().__init__(function, (steps + 1,), **kwargs)


class Sufficiency(_Faithfulness):
    """Mean of `sufficiency`. Arguments as there."""

    higher_is_better = False

    def __init__(
        self,
        percentages: tuple[float, ...] = PERCENTAGES,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            partial(sufficiency, percentages=percentages, fill=fill, chunk_size=chunk_size, score=score), **kwargs
        )


class Comprehensiveness(_Faithfulness):
    """Mean of `comprehensiveness`. Arguments as there."""

    higher_is_better = True

    def __init__(
        self,
        percentages: tuple[float, ...] = PERCENTAGES,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            partial(comprehensiveness, percentages=percentages, fill=fill, chunk_size=chunk_size, score=score), **kwargs
        )
