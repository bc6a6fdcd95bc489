"""GradMask: what tells the classes apart must not change outside of the mask."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.gradient import image_gradient
from lookright.classifier import Output
from lookright.methods.gradient_guidance import GradientGuidance


class GradMask(GradientGuidance):
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

    def __init__(self, weight: float = 1.0, contrast: bool = True) -> None:
        super().__init__(weight)
        self.contrast = contrast

    def gradient(self, output: Output, label: Tensor) -> Float[Tensor, "B C H W"]:
        """∂s/∂x."""
        classes = output.logits.shape[1]
        of_label = functional.one_hot(label, classes).to(output.logits.dtype)
        return image_gradient(output, of_label - (1 - of_label) / (classes - 1) if self.contrast else of_label)

    def penalise(
        self,
        gradient: Float[Tensor, "B C H W"],
        inside: Float[Tensor, "B H W"],
        outside: Float[Tensor, "B H W"],
    ) -> Float[Tensor, " B"]:
        """The norm outside."""
        return torch.linalg.vector_norm(outside[:, None] * gradient, dim=(1, 2, 3))
