"""CAMAL: class activation maps regularised by segmentation masks."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax, relu
from lookright.errors import require_between, require_one_of
from lookright.methods.map_guidance import MapGuidance, share_inside

Mode = Literal["mean", "energy", "sum"]


def inside_outside(
    map: Float[Tensor, "B h w"],
    inside: Float[Tensor, "B h w"],
    outside: Float[Tensor, "B h w"],
    mode: Mode = "mean",
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Attention inside (α) and outside (β) of the mask.

    Args:
        map: non-negative attention A.
        inside: I, how much of each cell is evidence; see `mask_on_grid`.
        outside: O, how much of it is not; I + O = 1 where all of it is known.
        mode: `mean` α = ΣAI / ΣI, β = ΣAO / ΣO; `energy` α = ΣAI / ΣA(I + O), β = ΣAO / ΣA(I + O);
            `sum` α = ΣAI, β = ΣAO, whose scale grows with the grid. A quotient without denominator is 0.

    Raises:
        InputError: no such mode.

    >>> inside = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    >>> inside_outside(torch.tensor([[[1.0, 0.5, 0.0, 0.0]]]), inside, 1 - inside)
    (tensor([0.7500]), tensor([0.]))
    """
    require_one_of("mode", mode, get_args(Mode))
    alpha, beta = (map * inside).sum((1, 2)), (map * outside).sum((1, 2))
    if mode == "mean":
        return _divide(alpha, inside.sum((1, 2))), _divide(beta, outside.sum((1, 2)))
    if mode == "energy":
        energy = (map * (inside + outside)).sum((1, 2))
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
        map: which map is compared, see `MapGuidance`.
    """

    def __init__(
        self,
        weight: float = 1.0,
        mode: Mode = "mean",
        relu: bool = True,
        minmax: bool = True,
        threshold: float | None = None,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(weight, explain, map)
        require_one_of("mode", mode, get_args(Mode))
        if threshold is not None:
            require_between("threshold", threshold, 0, 1)
        self.mode: Mode = mode
        self.relu = relu
        self.minmax = minmax
        self.threshold = threshold

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """β − α of each image."""
        if self.relu:
            map = relu(map)
        if self.minmax:
            map = minmax(map)
        if self.threshold is not None:
            known, is_inside = inside + outside, share_inside(inside, outside) > self.threshold
            inside, outside = known * is_inside, known * ~is_inside
        alpha, beta = inside_outside(map, inside, outside, self.mode)
        return beta - alpha
