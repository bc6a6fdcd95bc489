"""ROAD: what the classifier says when pixels are in-painted, so that the shape of the hole tells nothing.

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022. Of each image the mean
over 10, 20, ..., 90 % of the pixels, as pytorch-grad-cam has it.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.classifier import Classifier
from lookright.metrics.faithfulness import Faithfulness, follow
from lookright.metrics.target_score import Score, TargetScore
from lookright.perturb import NoisyLinear, Perturbation

NOISY_LINEAR = NoisyLinear()
PERCENTAGES = tuple(range(10, 100, 10))


def road(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = NOISY_LINEAR,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 32,
) -> Float[Tensor, " B"]:
    """Half of what the score is higher without the least relevant pixels than without the most relevant ones.

    (LeRF − MoRF) / 2, in [−1/2, 1/2] for probabilities; higher is better, a flat map scores about 0.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        map: (B, h, w), on any grid.
        target: (B), the class that is followed.
        percentages: of the pixels that are in-painted.
        fill: what stands in for them.
        score: what of the class is followed, see `metrics.target_score`.
        generator: of the in-painting's noise; None draws the same for every call.
        chunk_size: how many images go through the classifier at a time.
    """
    given = (classifier, image, map, target)
    options: dict[str, Any] = {"percentages": percentages, "fill": fill, "score": score, "chunk_size": chunk_size}
    generator = _generator(generator)
    least, most = (
        function(*given, generator=generator, **options) for function in (road_least_relevant, road_most_relevant)
    )
    return (least - most) / 2


def road_most_relevant(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = NOISY_LINEAR,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 32,
) -> Float[Tensor, " B"]:
    """MoRF: the mean score without the most relevant pixels; lower is better. Arguments as in `road`."""
    views = TargetScore(
        classifier, image, target, fill=fill, score=score, generator=_generator(generator), chunk_size=chunk_size
    )
    return follow(views, map, percentages, keep_top=False).mean(1)


def road_least_relevant(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = PERCENTAGES,
    fill: Perturbation = NOISY_LINEAR,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 32,
) -> Float[Tensor, " B"]:
    """LeRF: the mean score without the least relevant pixels; higher is better. Arguments as in `road`."""
    views = TargetScore(
        classifier, image, target, fill=fill, score=score, generator=_generator(generator), chunk_size=chunk_size
    )
    kept = tuple(100 - percentage for percentage in percentages)
    return follow(views, map, kept, keep_top=True).mean(1)


def _generator(given: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(0) if given is None else given


class _ROAD(Faithfulness):
    def __init__(
        self,
        percentages: tuple[float, ...] = PERCENTAGES,
        fill: Perturbation = NOISY_LINEAR,
        chunk_size: int = 32,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        function = partial(
            type(self).function_of_images, percentages=percentages, fill=fill, chunk_size=chunk_size, score=score
        )
        super().__init__(function, **kwargs)

    function_of_images: Any


class ROAD(_ROAD):
    """Mean of `road`. Arguments as there."""

    higher_is_better = True
    function_of_images = staticmethod(road)


class ROADMostRelevant(_ROAD):
    """Mean of `road_most_relevant`. Arguments as there."""

    higher_is_better = False
    function_of_images = staticmethod(road_most_relevant)


class ROADLeastRelevant(_ROAD):
    """Mean of `road_least_relevant`. Arguments as there."""

    higher_is_better = True
    function_of_images = staticmethod(road_least_relevant)
