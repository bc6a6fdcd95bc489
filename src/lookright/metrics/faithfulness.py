"""Faithfulness: does the map say what the classifier itself uses?

Pixels are taken in decreasing order of the map, which is resized bilinearly to the image. Pixels with equal values are
taken in a fixed pseudo-random order, the same for every image of a size: a raster order would favour the top of the
image, so that a flat map scores what a random order scores. Clip or take the absolute value of a map first if the sign
of its values shall not count. A map with a NaN has no order: its values are NaN.

What is followed is a score of the target: `probability`, `sigmoid` or `logit`, see `metrics.target_score`.

The classifier runs in eval mode without gradients and gets its modes back; `chunk_size` images go through it at a time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.classifier import Classifier
from lookright.errors import InputError, require_between
from lookright.metrics.adaptive import bisect, interpolate, monotone_bound
from lookright.metrics.alignment import resize_in_order
from lookright.metrics.mean import MeanOverDefined
from lookright.metrics.target_score import Score, TargetScore
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
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
    budget: float = 1.0,
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
        budget: share of the points that are computed, those where the curves of the batch bend most; between them a
            curve is straight. `Insertion` and `Deletion` state how far that may be off.

    Raises:
        InputError: shapes that do not fit, a target that is no class of the model, steps below 1, a budget out of
            [0, 1].

    Returns:
        (B, steps + 1), from the filled image to the image itself; see `auc`.
    """
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _curve(views, map, steps, budget, keep_top=True)[0]


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
    budget: float = 1.0,
) -> Float[Tensor, "B points"]:
    """The target's probability while the pixels of the image are taken away, highest first; lower is better.

    Petsiuk et al., "RISE", BMVC 2018. Arguments as in `insertion`.

    Returns:
        (B, steps + 1), from the image itself to the filled image; see `auc`.
    """
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _curve(views, map, steps, budget, keep_top=False)[0]


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
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _drop(views, map, percentages, keep_top=True)


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
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _drop(views, map, percentages, keep_top=False)


def _drop(views: TargetScore, map: Tensor, percentages: tuple[float, ...], *, keep_top: bool) -> Tensor:
    if not percentages or not all(0 < percentage <= 100 for percentage in percentages):
        raise InputError(f"percentages={percentages}; expected one or more above 0 and up to 100.")
    untouched = 100.0 if keep_top else 0.0
    followed = follow(views, map, (untouched, *percentages), keep_top=keep_top)
    return followed[:, 0] - followed[:, 1:].mean(1)


def follow(
    views: TargetScore, map: Float[Tensor, "B h w"], percentages: tuple[float, ...], *, keep_top: bool
) -> Float[Tensor, "B points"]:
    """The score with so many per cent of the pixels kept (or, not `keep_top`, taken away), highest first."""
    points = torch.arange(len(percentages), device=map.device)
    index, point = (part.flatten() for part in torch.meshgrid(_images(map), points, indexing="ij"))
    shares = [percentage / 100 for percentage in percentages]
    scores = _ranked(views, map, shares, keep_top)(index, point).view(len(map), len(percentages))
    return undefined_with_nan(map, scores)


def _curve(
    views: TargetScore, map: Tensor, steps: int, budget: float, *, keep_top: bool
) -> tuple[Float[Tensor, "B points"], Float[Tensor, " B"]]:
    """The score at equal steps, and how far the area may be off where not all of them are computed."""
    if steps < 1:
        raise InputError(f"steps={steps}; expected 1 or more.")
    require_between("budget", budget, 0, 1)
    score = _ranked(views, map, [step / steps for step in range(steps + 1)], keep_top)
    computed, values = bisect(score, len(map), steps + 1, budget, map.device)
    curve = interpolate(values, computed)
    return undefined_with_nan(map, curve), undefined_with_nan(map, monotone_bound(curve, computed))


def _ranked(views: TargetScore, map: Tensor, shares: list[float], keep_top: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of image `index` when the share of number `point` of its pixels is kept or taken away."""
    size = views.image.shape[-2:]
    require_maps(views, map)
    rank = rank_pixels(map, size)
    count = torch.tensor([round(share * size[0] * size[1]) for share in shares], device=map.device)

    def score(index: Tensor, point: Tensor) -> Tensor:
        def keep(view: Tensor) -> Tensor:
            top = rank[index[view]] < count[point[view], None, None]
            return top if keep_top else ~top

        return views(index, keep)

    return score


def _images(map: Tensor) -> Tensor:
    return torch.arange(len(map), device=map.device)


def require_maps(views: TargetScore, map: Tensor) -> None:
    """Refuse what is not one map for each image.

    Raises:
        InputError: shapes that do not fit.
    """
    if map.ndim != 3 or len(map) != len(views.image):
        raise InputError(
            f"map has shape {tuple(map.shape)} and image {tuple(views.image.shape)}: "
            "expected (B, h, w) and (B, C, H, W), one map for each image"
        )


def undefined_with_nan(map: Float[Tensor, "B h w"], value: Float[Tensor, "B *more"]) -> Float[Tensor, "B *more"]:
    """The values, NaN for a map with a NaN, which has no order."""
    has_nan = map.isnan().flatten(1).any(1)
    return torch.where(has_nan.view(-1, *[1] * (value.ndim - 1)), torch.nan, value)


def rank_pixels(map: Float[Tensor, "B h w"], size: tuple[int, ...]) -> Int[Tensor, "B H W"]:
    """The place of each pixel in decreasing order of the map, from 0."""
    if len(map) == 0:
        return map.new_empty(0, *size, dtype=torch.long)
    value = resize_in_order(map, size).flatten(1)
    shuffled = torch.randperm(value.shape[1], generator=torch.Generator().manual_seed(0)).to(map.device)
    order = shuffled[value[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    place = torch.arange(order.shape[1], device=map.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place).view(-1, *size)


class Faithfulness(MeanOverDefined):
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


class _Curve(MeanOverDefined):
    """Mean area under curves; `bound` says how far from it the area under the whole curves lies at most.

    The bound holds where curves rise or fall between the points that are computed; it is 0 when all are.

    Args:
        keep_top: whether pixels come or go.
        steps: see `insertion`, and `fill`, `chunk_size`, `score`, `budget`.
        fill: what stands in.
        chunk_size: images at a time.
        score: what is followed.
        budget: share of the points.
        kwargs: of `torchmetrics.Metric`.
    """

    keep_top: bool
    bound_total: Tensor

    def __init__(
        self, steps: int, fill: Perturbation, chunk_size: int, score: Score, budget: float, **kwargs: Any
    ) -> None:
        super().__init__((steps + 1,), of=(steps, fill, score, budget), **kwargs)
        self.steps, self.fill, self.chunk_size, self.score, self.budget = steps, fill, chunk_size, score, budget
        self.add_state("bound_total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(  # type: ignore[override]
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        map: Float[Tensor, "B h w"],
        target: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> None:
        """Count images in; arguments as in `insertion`."""
        views = TargetScore(
            classifier,
            image,
            target,
            fill=self.fill,
            score=self.score,
            generator=generator,
            chunk_size=self.chunk_size,
        )
        curve, bound = _curve(views, map, self.steps, self.budget, keep_top=self.keep_top)
        self.add(curve)
        self.bound_total += bound.nansum()

    @property
    def curve(self) -> Float[Tensor, " points"]:
        """The mean curve over the defined images."""
        return self.total / self.defined

    @property
    def bound(self) -> Float[Tensor, ""]:
        """How far the mean area may be off."""
        return self.bound_total / self.defined

    def compute(self) -> Float[Tensor, ""]:
        """The mean area under the curve, which is the area under the mean curve."""
        return auc(self.curve)


class Insertion(_Curve):
    """Mean area under the curve of `insertion`; `curve` is the mean curve. Arguments as there."""

    higher_is_better = True
    keep_top = True

    def __init__(
        self,
        steps: int = 28,
        fill: Perturbation = RISE_BLUR,
        chunk_size: int = 128,
        score: Score = "probability",
        budget: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, fill, chunk_size, score, budget, **kwargs)


class Deletion(_Curve):
    """Mean area under the curve of `deletion`; `curve` is the mean curve. Arguments as there."""

    higher_is_better = False
    keep_top = False

    def __init__(
        self,
        steps: int = 28,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        budget: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, fill, chunk_size, score, budget, **kwargs)


class Sufficiency(Faithfulness):
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


class Comprehensiveness(Faithfulness):
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
