"""GALS: the loss must not depend on what a guide does not attend to."""

from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import loss_gradient
from lookright.classifier import Output
from lookright.methods.gradient_guidance import GradientGuidance
from lookright.methods.map_guidance import mean_over_known, share_inside


class GALS(GradientGuidance):
    """Penalises the cross-entropy's input gradient outside of the mask: λ · mean_b ‖g_b − g_b ⊙ M_b‖₁, g = ∂CE/∂x.

    Petryk, Dunlap, Nasseri, Gonzalez, Darrell, Rohrbach, "On Guiding Visual Attention with Language Specification",
    CVPR 2022 (arXiv 2202.08926). ‖·‖₁ is the mean over channels and known pixels. There M is the attention of CLIP for
    a prompt, in [0, 1]; here it is the data's mask, which may be such a map: soft masks are taken as they are. PARIC
    (arXiv 2503.11360) has the same loss with attention from several draws of a probabilistic embedding: for us another
    mask, and no other method.

    g is the gradient of each image's own cross-entropy, with the plain softmax whatever the task is. It vanishes where
    the prediction is sure and right, and the guidance with it. Its gradient is of second order: it needs a model that
    can be differentiated twice.

    Args:
        weight: λ; the authors' 10,000 for Waterbirds-95 scales the gradient of the mean over a batch of 96, which is
            about 100 here.

    Raises:
        InputError: a negative weight; in a step, a task without classes.
    """

    needs = GradientGuidance.needs | {"label"}

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__(weight)

    def gradient(self, output: Output, label: Tensor) -> Float[Tensor, "B C H W"]:
        """g."""
        return loss_gradient(output, label)

    def penalise(
        self,
        gradient: Float[Tensor, "B C H W"],
        inside: Float[Tensor, "B H W"],
        outside: Float[Tensor, "B H W"],
    ) -> Float[Tensor, " B"]:
        """Mean size of g outside, over what is known."""
        return mean_over_known(gradient.abs().mean(1) * share_inside(outside, inside), inside + outside)
