"""CYBORG: class activation maps that resemble human saliency."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.map_guidance import MapGuidance, mean_over_known, share_inside, stretched
from lookright.methods.method import Views, require_classes
from lookright.tasks import cross_entropy


class CYBORG(MapGuidance):
    """Mixes the task with the squared distance between map and human saliency: a·L_CE + (1 − a)·MSE(Â, Ŝ).

    Boyd, Tinsley, Bowyer, Czajka, "CYBORG: Blending Human Saliency Into the Loss Improves Deep Learning", WACV 2023,
    equation 1. Â is the class map without ReLU and Ŝ the human map on its grid, each min-max normalised; a human map
    that is the same everywhere is taken as it is. The authors' releases explain either the true or the predicted
    class; here it is an argument.

    With `alpha="adaptive"`, a = L_CE / (L_CE + MSE) of each batch, as in the code of the same group's VISER (arXiv
    2603.17859): whichever loss is larger gets the larger share. There a is no constant of the gradient, and the sum is
    (L_CE² + MSE²) / (L_CE + MSE): wherever L_CE < 0.41 · MSE it falls while the cross-entropy *rises*, and the other
    way round. `differentiate_alpha=False` takes a as a constant.

    Args:
        alpha: a, the share of the task in the loss; the paper's 0.5, or `adaptive`.
        explain: whose map is compared: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.
        differentiate_alpha: of `adaptive`: let gradients flow through a, as VISER's code does.

    Raises:
        InputError: alpha out of range, or an argument is none of its choices; in a step, `adaptive` with a task without
            classes.
    """

    def __init__(
        self,
        alpha: float | Literal["adaptive"] = 0.5,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
        differentiate_alpha: bool = True,
    ) -> None:
        if not isinstance(alpha, str):
            require_between("alpha", alpha, 0, 1)
        elif alpha != "adaptive":
            raise InputError(f"alpha={alpha!r}; expected a number from 0 to 1, or adaptive.")
        super().__init__(1.0 if isinstance(alpha, str) else 1 - alpha, explain, map)
        self.alpha = alpha
        self.differentiate_alpha = differentiate_alpha

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """a for each image."""
        weight = super().weigh(classifier, output, batch)
        if isinstance(self.alpha, str):
            (distance,) = super().guidance(classifier, output, batch).values()
            return weight * self._adapted(output, batch, distance)
        return weight * self.alpha

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, named like the method."""
        terms = super().guidance(classifier, output, batch, views)
        if isinstance(self.alpha, str):
            return {name: (1 - self._adapted(output, batch, term)) * term for name, term in terms.items()}
        return terms

    def _adapted(self, output: Output, batch: Batch, distance: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """a of this batch."""
        require_classes(self, output, batch["label"])
        task = cross_entropy(output.logits, batch["label"]).mean()
        alpha = task / (task + distance + 1e-8)
        return alpha if self.differentiate_alpha else alpha.detach()

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """Mean squared distance over the grid."""
        known = inside + outside
        human = stretched(share_inside(inside, outside), known)
        return mean_over_known((minmax(map) - human).square(), known)
