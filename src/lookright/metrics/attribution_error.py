"""Do the map's values add up as the score falls? Sensitivity-n and infidelity: a region's sum against what it costs.

Both take a map as contributions: the value of a region is the sum over its pixels of the map, resized bilinearly to the
image. A map's scale does not count; its zero does.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.metrics.alignment import resize
from lookright.metrics.faithfulness import ZERO, Faithfulness
from lookright.metrics.target_score import Score, TargetScore
from lookright.perturb import Perturbation


def sensitivity_n(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    percentages: tuple[float, ...] = (10, 30, 50, 70),
    samples: int = 50,
    fill: Perturbation = ZERO,
    score: Score = "logit",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Pearson's correlation of the map's sum over n random pixels with how far the score falls without them.

    Mean over several n. In [−1, 1]; 1 where the map's sums tell what pixels are worth. Undefined where sums or falls do
    not differ (a flat map), and for a map with a NaN. Ancona et al., "Towards Better Understanding of Gradient-based
    Attribution Methods for Deep Neural Networks", ICLR 2018, section 4.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        map: (B, h, w), on any grid.
        target: (B), the class that is followed.
        percentages: n, in per cent of the pixels.
        samples: how many sets of pixels are drawn for each n, the same for all images.
        fill: what stands in for pixels that are away.
        score: what of the class is followed, see `metrics.target_score`.
        generator: of the draw, and for a random `fill`; None draws the same for every call.
        chunk_size: how many images go through the classifier at a time.
    """
    if not percentages or not all(0 < percentage < 100 for percentage in percentages):
        raise InputError(f"percentages={percentages}; expected one or more between 0 and 100.")
    if samples < 2:
        raise InputError(f"samples={samples}; expected 2 or more.")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    height, width = image.shape[-2:]
    pixels = height * width
    found = []
    for percentage in percentages:
        place = torch.rand(samples, pixels, generator=generator, device=generator.device).argsort(1).argsort(1)
        region = (place < max(round(pixels * percentage / 100), 1)).view(samples, height, width).to(image.device)
        found.append(_correlation(*_sums_and_falls(views, map, region)))
    return torch.stack(found).mean(0).float()


def infidelity(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    sides: tuple[float, float] = (0.1, 0.5),
    samples: int = 50,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """Mean squared error of the map's sum over a random square, as a prediction of how far the score falls without.

    E (β Σ_S A − (f(x) − f(x without S)))², β the factor that fits best, so that the map's scale does not count. Lower
    is better; a map of zeros has E (f(x) − f(x without S))². Undefined for a map with a NaN. Yeh et al., "On the
    (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 2.1 with square removal, the perturbation
    counted as 1 where a pixel is away, as befits maps of contributions.

    Args:
        classifier: as in `sensitivity_n`, and `image`, `map`, `target`.
        image: (B, C, H, W).
        map: (B, h, w).
        target: (B).
        sides: smallest and largest side of the squares, as a share of the image's shorter side.
        samples: how many squares are drawn, the same for all images.
        fill: what stands in for pixels that are away.
        score: what of the class is followed.
        generator: of the draw, and for a random `fill`; None draws the same for every call.
        chunk_size: how many images go through the classifier at a time.
    """
    if not 0 < sides[0] <= sides[1] <= 1:
        raise InputError(f"sides={sides}; expected a smaller and a larger one, above 0 and up to 1.")
    if samples < 1:
        raise InputError(f"samples={samples}; expected 1 or more.")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    region = _squares(image.shape[-2:], sides, samples, generator).to(image.device)
    total, fall = _sums_and_falls(views, map, region)
    scale = (total * fall).sum(1) / total.square().sum(1).clamp_min(torch.finfo(total.dtype).tiny)
    return (scale[:, None] * total - fall).square().mean(1).float()


def _squares(
    size: tuple[int, ...], sides: tuple[float, float], samples: int, generator: torch.Generator
) -> Bool[Tensor, "samples H W"]:
    height, width = size
    shorter = min(height, width)
    drawn = torch.rand(3, samples, generator=generator, device=generator.device)
    side = (shorter * (sides[0] + (sides[1] - sides[0]) * drawn[0])).round().clamp(1, shorter)
    spans = []
    for length, draw in ((height, drawn[1]), (width, drawn[2])):
        start = (draw * (length - side + 1)).floor()[:, None]
        place = torch.arange(length, device=drawn.device)
        spans.append((place >= start) & (place < start + side[:, None]))
    return spans[0][:, :, None] & spans[1][:, None, :]


def _sums_and_falls(
    views: TargetScore, map: Tensor, region: Bool[Tensor, "samples H W"]
) -> tuple[Float[Tensor, "B samples"], Float[Tensor, "B samples"]]:
    """The map's sum over each region, and how far the score falls without it."""
    image, samples = views.image, len(region)
    if map.ndim != 3 or len(map) != len(image):
        raise InputError(
            f"map has shape {tuple(map.shape)} and image {tuple(image.shape)}: "
            "expected (B, h, w) and (B, C, H, W), one map for each image"
        )
    precise = torch.float32 if map.device.type == "mps" else torch.float64
    if len(map) == 0:
        return (map.new_empty(0, samples, dtype=precise),) * 2
    map = torch.where(map.isnan().any((1, 2), keepdim=True), torch.nan, map.to(precise))
    total = resize(map, image.shape[-2:]).flatten(1) @ region.flatten(1).to(precise).T
    each = torch.arange(len(image), device=image.device)
    whole = views(each, lambda view: torch.ones_like(region[:1]).expand(len(view), -1, -1))
    number = torch.arange(samples, device=image.device).repeat(len(image))
    without = views(each.repeat_interleave(samples), lambda view: ~region[number[view]])
    return total, (whole[:, None] - without.view(len(image), samples)).to(precise)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    parts = []
    for values, rounding in ((a, 1e-9), (b, 1e-6)):
        centred = values - values.mean(1, keepdim=True)
        # What differs by rounding alone does not differ.
        flat = centred.abs().amax(1, keepdim=True) <= rounding * values.abs().amax(1, keepdim=True)
        parts.append(torch.where(flat, torch.nan, centred))
    first, second = parts
    return (first * second).sum(1) / (first.square().sum(1) * second.square().sum(1)).sqrt()


class SensitivityN(Faithfulness):
    """Mean of `sensitivity_n`. Arguments as there."""

    higher_is_better = True

    def __init__(
        self,
        percentages: tuple[float, ...] = (10, 30, 50, 70),
        samples: int = 50,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "logit",
        **kwargs: Any,
    ) -> None:
        function = partial(
            sensitivity_n, percentages=percentages, samples=samples, fill=fill, chunk_size=chunk_size, score=score
        )
        super().__init__(function, **kwargs)


class Infidelity(Faithfulness):
    """Mean of `infidelity`. Arguments as there."""

    higher_is_better = False

    def __init__(
        self,
        sides: tuple[float, float] = (0.1, 0.5),
        samples: int = 50,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        function = partial(infidelity, sides=sides, samples=samples, fill=fill, chunk_size=chunk_size, score=score)
        super().__init__(function, **kwargs)
