"""LearningToLook: the map as a distribution over the image, close to that of the mask."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax, relu
from lookright.methods.map_guidance import MapGuidance, share_inside


class LearningToLook(MapGuidance):
    """λ · mean_b KL(M / ΣM ‖ softmax over the cells of minmax(A⁺)).

    Yang et al., "Learning to Look: Cognitive Attention Alignment with Vision-Language Models", 2025 (arXiv 2509.21247),
    where masks come from a vision-language model; here they are those of the data. The softmax of a map in [0, 1] is
    at most e times as large in one cell as in another, so that the divergence has a floor far above 0.

    The authors' code trains on cross-entropy alone for ten epochs (its README says: on attention alone), then has
    λ = 160 and adds a tenth of it in each epoch. Here λ stays. An empty mask has no distribution and adds nothing.

    Args:
        weight: λ; 160 is that of the authors' code, for images of 32 × 32.
        explain: whose map is guided: that of the `label`, as the authors do, or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.
    """

    def __init__(
        self,
        weight: float = 160.0,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(weight, explain, map)

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """The divergence over the cells of which something is known."""
        known = (inside + outside > 0).flatten(1)
        mask = share_inside(inside, outside).to(map.dtype).flatten(1)
        total = mask.sum(1, keepdim=True)
        target = mask / torch.where(total > 0, total, 1.0)
        logit = minmax(relu(map)).flatten(1).masked_fill(~known, torch.finfo(map.dtype).min)
        divergence = torch.special.xlogy(target, target) - target * logit.log_softmax(1)
        return torch.where(known, divergence, 0.0).sum(1)
