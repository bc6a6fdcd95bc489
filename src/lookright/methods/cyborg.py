"""CYBORG: class activation maps that resemble human saliency."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import minmax
from lookright.methods.map_guidance import MapGuidance


class CYBORG(MapGuidance):
    """Mixes the task with the squared distance between map and human saliency: a·L_CE + (1 − a)·MSE(Â, Ŝ).

    Boyd, Tinsley, Bowyer, Czajka, "CYBORG: Blending Human Saliency Into the Loss Improves Deep Learning", WACV 2023,
    equation 1. Â is the class map without ReLU and Ŝ the human map on its grid, each min-max normalised; a human map
    that is the same everywhere is taken as it is. The authors' releases explain either the true or the predicted
    class; here it is an argument.

    Args:
        alpha: a, the share of the task in the loss; the paper's 0.5.
        explain: whose map is compared: that of the `label` or of the `predicted` class.
    """

    def __init__(self, alpha: float = 0.5, explain: Literal["label", "predicted"] = "label") -> None:
        super().__init__(1 - alpha, explain)
        self.alpha = alpha
        self.task_weight = alpha

    def compare(self, map: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
        """Mean squared distance over the grid."""
        varies = mask.amax((1, 2), keepdim=True) > mask.amin((1, 2), keepdim=True)
        return (minmax(map) - torch.where(varies, minmax(mask), mask)).square().mean((1, 2))
