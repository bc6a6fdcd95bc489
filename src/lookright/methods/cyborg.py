"""CYBORG: class activation maps that resemble human saliency."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.map_guidance import MapGuidance, mean_over_known, share_inside


class CYBORG(MapGuidance):
    """Mixes the task with the squared distance between map and human saliency: a·L_CE + (1 − a)·MSE(Â, Ŝ).

    Boyd, Tinsley, Bowyer, Czajka, "CYBORG: Blending Human Saliency Into the Loss Improves Deep Learning", WACV 2023,
    equation 1. Â is the class map without ReLU and Ŝ the human map on its grid, each min-max normalised; a human map
    that is the same everywhere is taken as it is. The authors' releases explain either the true or the predicted
    class; here it is an argument.

    Args:
        alpha: a, the share of the task in the loss; the paper's 0.5.
        explain: whose map is compared: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: alpha out of range, or an argument is none of its choices.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        require_between("alpha", alpha, 0, 1)
        super().__init__(1 - alpha, explain, map)
        self.alpha = alpha

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """a for each image."""
        return super().weigh(classifier, output, batch) * self.alpha

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """Mean squared distance over the grid."""
        human = share_inside(inside, outside)
        varies = human.amax((1, 2), keepdim=True) > human.amin((1, 2), keepdim=True)
        distance = (minmax(map) - torch.where(varies, minmax(human), human)).square()
        return mean_over_known(distance, inside + outside)
