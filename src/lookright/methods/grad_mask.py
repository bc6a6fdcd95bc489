"""GradMask: what tells the classes apart must not change outside of the mask."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.gradient import image_gradient
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.method import Method, Views, require_classes


class GradMask(Method):
    """Penalises the gradient of a difference of logits outside of the mask: λ · mean_b ‖O_b ⊙ ∂s_b/∂x_b‖₂.

    Simpson, Dutil, Bengio, Cohen, "GradMask: Reduce Overfitting by Regularizing Saliency", MIDL 2019 (extended
    abstract). For two classes s = y_0 − y_1, whose sign the norm does not see, O is the outside of the lesion, and the
    norm runs over pixels and channels. The formula is from the abstract and what cites it, not from the authors' code.

    For more classes s is the label's logit less the mean of the others: for two it is the same. A vector common to all
    rows of the head cannot lower the loss. Its gradient is of second order: it needs a model that can be differentiated
    twice.

    Args:
        weight: λ; the paper's is not known to us.
        contrast: False takes the gradient of the label's logit alone.

    Raises:
        InputError: a negative weight; in a step, a task without classes.
    """

    needs = frozenset({"mask", "image_gradient"})

    def __init__(self, weight: float = 1.0, contrast: bool = True) -> None:
        super().__init__()
        require_between("weight", weight)
        self.weight = weight
        self.contrast = contrast

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `gradmask`. A batch without masks costs no gradient."""
        require_classes(self, output, batch["label"])
        if "mask" in batch:
            gradient = image_gradient(output, self._direction(output, batch["label"]))
            _, outside = mask_on_grid(batch, (gradient.shape[2], gradient.shape[3]))
            loss = torch.linalg.vector_norm(outside.to(gradient.dtype)[:, None] * gradient, dim=(1, 2, 3))
        else:
            loss = output.logits.new_zeros(len(output.logits))
        return {"gradmask": self.weight * mean_over_masked(loss, mask_weight(batch))}

    def _direction(self, output: Output, label: Tensor) -> Float[Tensor, "B K"]:
        """The weights of the logits in s."""
        classes = output.logits.shape[1]
        of_label = functional.one_hot(label, classes).to(output.logits.dtype)
        return of_label - (1 - of_label) / (classes - 1) if self.contrast else of_label
