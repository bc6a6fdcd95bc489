"""Sufficiency and comprehensiveness as shares of what any order of the cells attains on the same classifier.

How far a probability can fall, and how early, is a matter of the classifier: the numbers of two classifiers differ
though both maps be perfect. So the mean fall over an order of cells is set between the smallest and the largest mean
fall that any order has: 0 to 1, whatever the classifier.

Edin et al., "Normalized AOPC: Fixing Misleading Faithfulness Metrics for Feature Attributions Explainability", ACL
2025. The image is divided into a grid of cells, of which one after the other is taken away until none is left. The
cells are the same for every map, so that coarse and fine ones can be compared.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.metrics.alignment import resize_in_order
from lookright.metrics.faithfulness import ZERO, Faithfulness, rank_pixels, require_maps, undefined_with_nan
from lookright.metrics.target_score import Score, TargetScore
from lookright.perturb import Perturbation

MOST_EXACT = 4
"""The largest side of the grid of which all subsets are tried: 65,536 forwards an image."""


def attainable_range(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    target: Int[Tensor, " B"],
    *,
    cells: int = 3,
    beam: int | None = None,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, "B 2"]:
    """The smallest and the largest mean fall of the score that an order of taking the cells away attains.

    Exact by dynamic programming over subsets of cells: what an order gains from a subset on does not depend on how it
    came there, so that 2^(cells²) forwards stand in for the factorial of orders. With `beam`, a search that keeps the
    best few subsets of each size and finds a range no wider than the exact one.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        target: (B), the class that is followed.
        cells: on each side of the grid.
        beam: how many subsets of each size the search keeps for each end; None tries all.
        fill: what stands in for pixels that are away.
        score: what of the class is followed, see `metrics.target_score`.
        generator: for a random `fill`.
        chunk_size: how many images go through the classifier at a time.

    Raises:
        InputError: a grid that does not fit, too large a one without `beam`, or shapes that do not fit.
    """
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _Falls(views, cells).range(beam)


def normalised_comprehensiveness(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    cells: int = 3,
    beam: int | None = None,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """The mean fall when cells go, most attended first, set in its `attainable_range`: 1 the best order, 0 the worst.

    Undefined where all orders attain the same, and for a map with a NaN. Arguments as there.
    """
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _normalised(views, map, cells, beam, highest_first=True)


def normalised_sufficiency(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    cells: int = 3,
    beam: int | None = None,
    fill: Perturbation = ZERO,
    score: Score = "probability",
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """The mean fall when cells go, least attended first, set in its `attainable_range`: 0 the best order, 1 the worst.

    Undefined where all orders attain the same, and for a map with a NaN. Arguments as there.
    """
    views = TargetScore(classifier, image, target, fill=fill, score=score, generator=generator, chunk_size=chunk_size)
    return _normalised(views, map, cells, beam, highest_first=False)


def _normalised(views: TargetScore, map: Tensor, cells: int, beam: int | None, *, highest_first: bool) -> Tensor:
    require_maps(views, map)
    falls = _Falls(views, cells)
    low, high = falls.range(beam).unbind(1)
    own = falls.of_map(map, highest_first)
    width = high - low
    # What differs by rounding alone attains the same. A search may have missed the best order, and the map found it.
    share = ((own - low) / width).clamp(0, 1)
    return undefined_with_nan(map, torch.where(width > 1e-6, share, torch.nan))


class _Falls:
    """How far the score falls without a subset of cells; a subset is a number with a bit for each cell."""

    def __init__(self, views: TargetScore, cells: int) -> None:
        height, width = views.image.shape[-2:]
        if not 1 <= cells <= min(height, width, 7):
            raise InputError(
                f"cells={cells} and images of {height} x {width} pixels; expected 1 to 7, and no more cells."
            )
        self.views, self.cells, self.count = views, cells, cells**2
        self.device = views.image.device
        row, column = (torch.arange(side, device=self.device) * cells // side for side in (height, width))
        self.cell = row[:, None] * cells + column
        images = torch.arange(len(views.image), device=self.device)
        self.whole = self._scores(images, torch.zeros_like(images))

    def _scores(self, index: Tensor, subset: Tensor) -> Tensor:
        return self.views(index, lambda view: (subset[view, None, None] >> self.cell) & 1 == 0)

    def __call__(self, index: Tensor, subset: Tensor) -> Tensor:
        """How far the score of each image `index` falls without its subset."""
        return self.whole[index] - self._scores(index, subset)

    def of_map(self, map: Tensor, highest_first: bool) -> Float[Tensor, " B"]:
        """The mean fall over the order that a map says."""
        number, count = len(map), self.count
        size = (self.cells, self.cells)
        value = resize_in_order(map, self.cell.shape).flatten(1)
        share = F.one_hot(self.cell.flatten(), count).to(value)
        mean = value @ (share / share.sum(0))
        order = rank_pixels(mean.view(number, *size), size).flatten(1).argsort(1)
        if not highest_first:
            order = order.flip(1)
        subset = (1 << order).cumsum(1).flatten()
        index = torch.arange(number, device=self.device).repeat_interleave(count)
        return self(index, subset).view(number, count).mean(1)

    def range(self, beam: int | None) -> Float[Tensor, "B 2"]:
        """Smallest and largest mean fall over all orders."""
        if beam is None:
            return self._exact()
        if beam < 1:
            raise InputError(f"beam={beam}; expected 1 or more, or None to try all.")
        found = [self._search(sign, beam) for sign in (-1, 1)]
        return torch.stack([-found[0], found[1]], 1)

    def _exact(self) -> Float[Tensor, "B 2"]:
        if self.cells > MOST_EXACT:
            raise InputError(
                f"cells={self.cells} has 2^{self.count} subsets; expected up to {MOST_EXACT}, or a beam such as 5."
            )
        images, subsets = len(self.views.image), 2**self.count
        index = torch.arange(images, device=self.device).repeat_interleave(subsets)
        fall = self(index, torch.arange(subsets, device=self.device).repeat(images)).view(images, subsets)
        members = torch.arange(subsets, device=self.device)[:, None] >> torch.arange(self.count, device=self.device) & 1
        best, worst = fall.clone(), fall.clone()
        for size in range(2, self.count + 1):
            grown = (members.sum(1) == size).nonzero()[:, 0]
            bit = members[grown].nonzero()[:, 1].view(len(grown), size)
            smaller = grown[:, None] - (1 << bit)
            best[:, grown] += best[:, smaller].amax(2)
            worst[:, grown] += worst[:, smaller].amin(2)
        return torch.stack([worst[:, -1], best[:, -1]], 1) / self.count

    def _search(self, sign: int, beam: int) -> Float[Tensor, " B"]:
        """The largest mean of sign · fall that a beam search finds."""
        best: list[dict[int, float]] = [{0: 0.0} for _ in range(len(self.views.image))]
        for _ in range(self.count):
            grown: list[dict[int, float]] = []
            for subsets in best:
                reached: dict[int, float] = {}
                for subset, total in subsets.items():
                    for larger in (subset | 1 << bit for bit in range(self.count) if not subset >> bit & 1):
                        reached[larger] = max(total, reached.get(larger, -torch.inf))
                grown.append(reached)
            index = torch.tensor([b for b, reached in enumerate(grown) for _ in reached], device=self.device)
            subset_of = torch.tensor([subset for reached in grown for subset in reached], device=self.device)
            falls = iter(self(index.long(), subset_of.long()).tolist())
            grown = [{subset: total + sign * next(falls) for subset, total in reached.items()} for reached in grown]
            best = [dict(sorted(reached.items(), key=lambda item: -item[1])[:beam]) for reached in grown]
        totals = [max(subsets.values()) for subsets in best]
        return torch.tensor(totals, device=self.device) / self.count


class _Normalised(Faithfulness):
    function_of_images: Any

    def __init__(
        self,
        cells: int = 3,
        beam: int | None = None,
        fill: Perturbation = ZERO,
        chunk_size: int = 128,
        score: Score = "probability",
        **kwargs: Any,
    ) -> None:
        function = partial(
            type(self).function_of_images, cells=cells, beam=beam, fill=fill, chunk_size=chunk_size, score=score
        )
        super().__init__(function, **kwargs)


class NormalisedComprehensiveness(_Normalised):
    """Mean of `normalised_comprehensiveness`. Arguments as there."""

    higher_is_better = True
    function_of_images = staticmethod(normalised_comprehensiveness)


class NormalisedSufficiency(_Normalised):
    """Mean of `normalised_sufficiency`. Arguments as there."""

    higher_is_better = False
    function_of_images = staticmethod(normalised_sufficiency)
