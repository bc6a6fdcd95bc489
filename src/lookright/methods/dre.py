"""DRE: explanations that stay consistent under mixing images of a class."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.attribution import Map, minmax
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.map_guidance import needs_of, trainable_map
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic


@dataclass(frozen=True, kw_only=True)
class Mixture(Views):
    """Views that are share · image[source] + (1 − share) · image[partner]."""

    partner: Int[Tensor, " V"]
    share: Float[Tensor, " V"]


def same_class_partner(label: Int[Tensor, " B"], generator: torch.Generator) -> Int[Tensor, " B"]:
    """A random permutation of the rows that maps each class to itself, uniform among these.

    >>> label = torch.tensor([3, 1, 3, 1, 3])
    >>> label[same_class_partner(label, torch.Generator().manual_seed(0))]
    tensor([3, 1, 3, 1, 3])
    """
    # Both orders list the classes one after the other, the second with the images of each class shuffled.
    order = torch.randperm(len(label), generator=generator).to(label.device)
    partner = torch.empty_like(label)
    partner[label.argsort(stable=True)] = order[label[order].argsort(stable=True)]
    return partner


def symmetric_beta(alpha: float, size: int, generator: torch.Generator) -> Float[Tensor, " V"]:
    """Draws of Beta(α, α), α ≤ 1, by Jöhnk's rejection: U^(1/α) / (U^(1/α) + V^(1/α)) if the sum is at most 1."""

    def powers(count: int) -> Tensor:
        return torch.rand(2, count, generator=generator, dtype=torch.float64).clamp_min(1e-9) ** (1 / alpha)

    pair = powers(size)
    while len(rejected := (pair.sum(0) > 1).nonzero()[:, 0]):
        pair[:, rejected] = powers(len(rejected))
    return (pair[0] / pair.sum(0)).float()


class DRE(Stochastic):
    """Asks the map of a mixture of two images of a class to be the mixture of their maps, and maps to be sparse.

    Li, Qiao, Ma, Peng, "Are Data-driven Explanations Robust against Out-of-distribution Data?", CVPR 2023. With x' a
    random image of x's class, w ~ Beta(α, α) and g the min-max normalised class map of the label,

        x̃ = w·x + (1 − w)·x',   L = L_CE + λ_c · |g(x̃) − (w·g(x) + (1 − w)·g(x'))| + λ_s · ½ (|g(x)| + |g(x̃)|)
                                     + λ_m · L_CE(x̃, y),

    |·| being the mean over the cells. The three terms are averaged over the images of each class, then over the classes
    of the batch. Weights and α are those of the authors' code, which divides by the number of all classes instead, and
    runs the mixtures in a forward of their own; here they ride with the images, so that a BatchNorm that is not frozen
    (the authors freeze it) normalises both together.

    Args:
        consistency_weight: λ_c.
        sparsity_weight: λ_s.
        mixture_weight: λ_m.
        alpha: α, from 0.05 to 1.
        sparsity: |g| as `mean` over the cells, or `max`: the mean over columns of the maximum over rows, which the
            authors' code computes (the 1-norm of a matrix, where that of a vector was presumably meant).
        seed: of partners and weights.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: alpha out of range, or no such sparsity.
    """

    def __init__(
        self,
        consistency_weight: float = 1.0,
        sparsity_weight: float = 0.5,
        mixture_weight: float = 0.1,
        alpha: float = 0.2,
        sparsity: Literal["mean", "max"] = "mean",
        seed: int = 0,
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(seed)
        require_between("alpha", alpha, 0.05, 1)
        require_between("consistency_weight", consistency_weight)
        require_between("sparsity_weight", sparsity_weight)
        require_between("mixture_weight", mixture_weight)
        require_one_of("sparsity", sparsity, ("mean", "max"))
        self.consistency_weight = consistency_weight
        self.sparsity_weight = sparsity_weight
        self.mixture_weight = mixture_weight
        self.alpha = alpha
        self.sparsity = sparsity
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map) | ({"label"} if mixture_weight else set())

    def views(self, batch: Batch) -> Mixture:
        """Each image mixed with another of its class (with itself where it is the only one)."""
        if batch["label"].ndim != 1:
            raise InputError(
                f"Labels have shape {tuple(batch['label'].shape)}, and DRE mixes images of a class; expected one "
                "label an image."
            )
        generator = self.generator()
        image, size = batch["image"], len(batch["image"])
        partner = same_class_partner(batch["label"], generator)
        share = symmetric_beta(self.alpha, size, generator).to(image)
        mixed = torch.lerp(image[partner], image, share[:, None, None, None])
        return Mixture(mixed, torch.arange(size, device=image.device), partner=partner, share=share)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Three terms, `dre_consistency`, `dre_sparsity` and `dre_mixture`."""
        if views is None:
            views = self.views(batch)
        assert isinstance(views, Mixture)
        of_views = classifier(views.image) if views.output is None else views.output
        label = batch["label"]
        require_classes(self, output, label)
        map = minmax(self._map(classifier, output, label))
        map_of_mixture = minmax(self._map(classifier, of_views, label))
        mixture_of_maps = torch.lerp(map[views.partner], map, views.share.to(map.dtype)[:, None, None])
        consistency = (map_of_mixture - mixture_of_maps).abs().mean((1, 2))
        sparsity = (self._size(map) + self._size(map_of_mixture)) / 2
        cross_entropy = functional.cross_entropy(of_views.logits, label, reduction="none")
        return {
            "dre_consistency": self.consistency_weight * _mean_over_classes(consistency, label),
            "dre_sparsity": self.sparsity_weight * _mean_over_classes(sparsity, label),
            "dre_mixture": self.mixture_weight * _mean_over_classes(cross_entropy, label),
        }

    def _size(self, map: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
        return map.mean((1, 2)) if self.sparsity == "mean" else map.amax(1).mean(1)


def _mean_over_classes(loss: Float[Tensor, " B"], label: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """The mean over the classes of the batch of the mean over their images."""
    weight = 1 / (label[:, None] == label).sum(1).to(loss.dtype)
    return (weight * loss).sum() / weight.sum()
