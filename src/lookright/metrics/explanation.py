"""Metrics of how maps are made: what small noise, or other weights of the classifier, change of them.

They ask for more maps than one, so that they take `explain`, a function of classifier, image and target, beside the map
of the image as it is.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lookright.classifier import Classifier, evaluating
from lookright.classifier.mode import own_randomness
from lookright.errors import InputError, require_between
from lookright.metrics.mean import MeanOverDefined

Explain = Callable[[Classifier, Tensor, Tensor], Tensor]
"""`explain(classifier, image, target)` gives the map (B, h, w)."""


def max_sensitivity(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    explain: Explain,
    radius: float = 0.02,
    samples: int = 10,
    generator: torch.Generator | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " B"]:
    """max ‖A(x + δ) − A(x)‖ / ‖A(x)‖ over δ drawn uniformly from [−radius, radius] for each value: lower is better.

    From 0 up; above 1 the map changes by more than its size. Undefined for a map of zeros. Yeh et al., "On the
    (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 3.1, over ‖A(x)‖ as captum has it.

    Args:
        classifier: whose maps they are; runs in eval mode.
        image: (B, C, H, W), the normalised model input.
        map: (B, h, w), what `explain` gives of the image.
        target: (B), the class that is explained.
        explain: makes the maps.
        radius: of the noise, in units of the normalised input.
        samples: how many δ are drawn.
        generator: of the noise; None draws the same for every call.
        chunk_size: how many images are explained at a time, at least those of the batch.
    """
    require_between("radius", radius)
    for name, number in (("samples", samples), ("chunk_size", chunk_size)):
        if number < 1:
            raise InputError(f"{name}={number}; expected 1 or more.")
    if len(image) == 0:
        return map.new_empty(0)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    size = map.flatten(1).norm(dim=1)
    most = torch.zeros_like(size)
    at_once = max(chunk_size // len(image), 1)
    with evaluating(classifier):
        for draws in torch.arange(samples).split(at_once):
            drawn = [torch.rand(image.shape, generator=generator, device=generator.device) for _ in draws]
            noisy = image + radius * (2 * torch.stack(drawn).to(image) - 1)
            others = explain(classifier, noisy.flatten(0, 1), target.repeat(len(draws)))
            change = others.view(len(draws), *map.shape) - map
            most = torch.maximum(most, change.flatten(2).norm(dim=2).amax(0))
    return torch.where(size > 0, most / size, torch.nan)


def randomisation_similarity(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    map: Float[Tensor, "B h w"],
    target: Int[Tensor, " B"],
    *,
    explain: Explain,
    seed: int = 0,
) -> Float[Tensor, " B"]:
    """How much of a map is left when the classifier forgets what it has learnt, layer by layer: lower is better.

    Spearman's rank correlation of the map with that of a classifier whose layers have random weights, from the head
    down to each layer; mean over the layers. A map that stays like itself shows the image, not the classifier. Adebayo
    et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (cascading randomisation). `randomised_maps` gives the
    values of each layer. Undefined where the map is flat; layers after which the other map is flat are left out.

    Args:
        classifier: as in `max_sensitivity`, and `image`, `map`, `target`, `explain`. It is copied, not changed.
        image: (B, C, H, W).
        map: (B, h, w).
        target: (B).
        explain: makes the maps.
        seed: of the random weights.
    """
    if len(image) == 0:
        return map.new_empty(0)
    others = randomised_maps(classifier, image, target, explain=explain, seed=seed)
    return torch.stack([rank_correlation(map, other) for _, other in others]).nanmean(0)


def randomised_maps(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    target: Int[Tensor, " B"],
    *,
    explain: Explain,
    seed: int = 0,
) -> Iterator[tuple[str, Tensor]]:
    """The maps when the layers down to each have random weights: its name, and (B, h, w). From the head to the input.

    A layer is a module with parameters of its own; it starts anew by its `reset_parameters`, or, without one, from a
    normal distribution with the standard deviation that the parameter has. Arguments as in `randomisation_similarity`.
    """
    changed = copy.deepcopy(classifier)
    layers = [(name, part) for name, part in changed.model.named_modules() if _own_parameters(part)]
    with evaluating(changed):
        for number, (name, layer) in enumerate(reversed(layers)):
            with own_randomness(image.device):
                torch.manual_seed(seed + number)
                _start_anew(layer)
            yield name, explain(changed, image, target)


def _own_parameters(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


@torch.no_grad()
def _start_anew(layer: nn.Module) -> None:
    if callable(reset := getattr(layer, "reset_parameters", None)):
        reset()
        return
    for parameter in _own_parameters(layer):
        spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
        parameter.normal_(std=spread or 0.02)


def rank_correlation(map: Float[Tensor, "B h w"], other: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
    """Spearman's rank correlation of two maps; equal values share their rank. NaN where one is flat or has a NaN.

    >>> rank_correlation(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[10.0, 5.0, 7.0]]]))
    tensor([-0.5000])
    """
    ranks = [_ranks(values.flatten(1).float()) for values in (map, other)]
    first, second = (values - values.mean(1, keepdim=True) for values in ranks)
    return (first * second).sum(1) / (first.square().sum(1) * second.square().sum(1)).sqrt()


def _ranks(values: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
    ordered = values.sort(1).values
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    ranks = (below + up_to).float() / 2
    return torch.where(values.isnan().any(1, keepdim=True), torch.nan, ranks)


class MaxSensitivity(MeanOverDefined):
    """Mean of `max_sensitivity`. Arguments as there."""

    higher_is_better = False

    def __init__(self, explain: Explain, radius: float = 0.02, samples: int = 10, **kwargs: Any) -> None:
        super().__init__(of=(radius, samples), **kwargs)
        self.explain, self.radius, self.samples = explain, radius, samples

    def update(  # type: ignore[override]
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        map: Float[Tensor, "B h w"],
        target: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> None:
        """Count images in."""
        self.add(
            max_sensitivity(
                classifier,
                image,
                map,
                target,
                explain=self.explain,
                radius=self.radius,
                samples=self.samples,
                generator=generator,
            )
        )


class RandomisationSimilarity(MeanOverDefined):
    """Mean of `randomisation_similarity`. Arguments as there."""

    higher_is_better = False

    def __init__(self, explain: Explain, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(of=seed, **kwargs)
        self.explain, self.seed = explain, seed

    def update(  # type: ignore[override]
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        map: Float[Tensor, "B h w"],
        target: Int[Tensor, " B"],
    ) -> None:
        """Count images in."""
        self.add(randomisation_similarity(classifier, image, map, target, explain=self.explain, seed=self.seed))
