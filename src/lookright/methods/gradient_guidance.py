"""The base of the methods that penalise gradients on the image outside of the mask."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.method import Method, Views, require_classes


class GradientGuidance(Method):
    """λ · the mean over the images with a mask of what `penalise` makes of a gradient on them.

    Its gradient is of second order: it needs a model that can be differentiated twice.

    Args:
        weight: λ.

    Raises:
        InputError: a negative weight; in a step, a task without classes.
    """

    is_base = True
    needs = frozenset({"mask", "image_gradient"})

    def __init__(self, weight: float) -> None:
        super().__init__()
        require_between("weight", weight)
        self.weight = weight

    @abstractmethod
    def gradient(self, output: Output, label: Tensor) -> Float[Tensor, "B C H W"]:
        """What is penalised, in the graph."""

    @abstractmethod
    def penalise(
        self,
        gradient: Float[Tensor, "B C H W"],
        inside: Float[Tensor, "B H W"],
        outside: Float[Tensor, "B H W"],
    ) -> Float[Tensor, " B"]:
        """The loss of each image; `inside` and `outside` are those of `mask_on_grid`."""

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, named like the method. A batch without masks costs no gradient."""
        require_classes(self, output, batch["label"])
        weight = mask_weight(batch)
        if "mask" in batch:
            gradient = self.gradient(output, batch["label"])
            # Where no mask counts it may be NaN, whose product with a gradient of 0 would be NaN.
            counting: Batch = {**batch, "mask": torch.where(weight[:, None, None] > 0, batch["mask"], 0.0)}
            inside, outside = mask_on_grid(counting, (gradient.shape[2], gradient.shape[3]))
            loss = self.penalise(gradient, inside.to(gradient.dtype), outside.to(gradient.dtype))
        else:
            loss = output.logits.new_zeros(len(output.logits))
        return {type(self).__name__.lower(): self.weight * mean_over_masked(loss, weight)}
