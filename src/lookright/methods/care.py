"""CARE: class attention to regions of lesion."""

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import require_between, require_one_of
from lookright.methods.camal import Mode, inside_outside
from lookright.methods.map_guidance import MapGuidance


class CARE(MapGuidance):
    """Attention outside the mask, less that inside up to a cap: (1 − a)·L_CE + a · mean_b (β_b − min(α_b, τ)).

    Zhuang, Cai, Wang, Zhang, Zheng, "CARE: Class Attention to Regions of Lesion for Classification on Imbalanced Data",
    MIDL 2019. CAMAL's loss but for the cap: once attention inside reaches τ, nothing pushes it further. The map is
    min-max normalised without ReLU. The authors train with the task alone first; start from such weights to do the
    same. They enlarge the map to the image, which only changes the scale of mode `sum`; their a, τ and the scaling of
    their masks are not known to us.

    Args:
        alpha: a, the share of the attention term in the loss.
        tau: τ, on the scale of α.
        mode: how attention is averaged, see `inside_outside`.
        explain: whose map is guided: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: alpha out of range, or an argument is none of its choices.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        tau: float = 0.5,
        mode: Mode = "mean",
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        require_between("alpha", alpha, 0, 1)
        require_between("tau", tau)
        super().__init__(alpha, explain, map)
        require_one_of("mode", mode, get_args(Mode))
        self.alpha = alpha
        self.tau = tau
        self.mode: Mode = mode

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """1 − a for each image."""
        return super().weigh(classifier, output, batch) * (1 - self.alpha)

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """β − min(α, τ) of each image."""
        alpha, beta = inside_outside(minmax(map), inside, outside, self.mode)
        return beta - alpha.clamp_max(self.tau)
