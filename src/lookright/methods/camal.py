"""CAMAL: class activation maps regularised by segmentation masks."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import minmax, relu
from lookright.errors import require_one_of
from lookright.methods.map_guidance import MapGuidance

Mode = Literal["mean", "energy", "sum"]


def inside_outside(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"], mode: Mode = "mean"
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Attention inside (α) and outside (β) of the mask.

    Args:
        map: non-negative attention.
        mask: in [0, 1], on the map's grid.
        mode: `mean` α = ΣAM / ΣM, β = ΣA(1−M) / Σ(1−M); `energy` α = ΣAM / ΣA, β = ΣA(1−M) / ΣA;
            `sum` α = ΣAM, β = ΣA(1−M), whose scale grows with the grid. A quotient without denominator is 0.

    >>> inside_outside(torch.tensor([[[1.0, 0.5, 0.0, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]))
    (tensor([0.7500]), tensor([0.]))
    """
    outside = 1 - mask
    alpha, beta = (map * mask).sum((1, 2)), (map * outside).sum((1, 2))
    if mode == "mean":
        return _divide(alpha, mask.sum((1, 2))), _divide(beta, outside.sum((1, 2)))
    if mode == "energy":
        energy = map.sum((1, 2))
        return _divide(alpha, energy), _divide(beta, energy)
    return alpha, beta


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    empty = denominator <= 0
    return torch.where(empty, 0.0, numerator) / torch.where(empty, 1.0, denominator)


class CAMAL(MapGuidance):
    """Pulls the class map into the mask: weight · mean_b (β_b − α_b).

    The loss is that of Hundal, Xiao, Dong, Rigger, "CAMAL" (arXiv 2605.08325): L = L_CE + (λ/B) Σ_b (β_b − α_b),
    with α the attention inside and β outside the mask. The paper's λ, normalisation and mask resizing are not known
    to us; they are the arguments below, and their defaults are our choice.

    An empty mask has α = 0 and a full one β = 0; both count in the mean. Images without a mask do not.

    Args:
        weight: λ.
        mode: how attention is averaged, see `inside_outside`.
        relu: drop evidence against the class before anything else.
        minmax: scale each map to [0, 1]. Without it a loss in mode `mean` or `sum` also rewards large activations.
        threshold: cells whose share of mask exceeds it count as inside, the others as outside; None keeps the share.
        explain: whose map is guided: that of the `label` or of the `predicted` class.
    """

    def __init__(
        self,
        weight: float = 1.0,
        mode: Mode = "mean",
        relu: bool = True,
        minmax: bool = True,
        threshold: float | None = None,
        explain: Literal["label", "predicted"] = "label",
    ) -> None:
        super().__init__(weight, explain)
        require_one_of("mode", mode, get_args(Mode))
        self.mode: Mode = mode
        self.relu = relu
        self.minmax = minmax
        self.threshold = threshold

    def compare(self, map: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
        """β − α of each image."""
        if self.relu:
            map = relu(map)
        if self.minmax:
            map = minmax(map)
        if self.threshold is not None:
            mask = (mask > self.threshold).to(map.dtype)
        alpha, beta = inside_outside(map, mask, self.mode)
        return beta - alpha
