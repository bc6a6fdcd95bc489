"""RRR: right for the right reasons, by input gradients."""

from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import image_gradient
from lookright.attribution.precision import at_least_float32
from lookright.classifier import Output
from lookright.methods.gradient_guidance import GradientGuidance


class RRR(GradientGuidance):
    """Penalises gradients of log-probabilities where no evidence is: λ · mean_b Σ_d (O_bd ∂/∂x_bd Σ_k log p_bk)².

    Ross, Hughes, Doshi-Velez, "Right for the Right Reasons: Training Differentiable Models by Constraining their
    Explanations", IJCAI 2017 (arXiv 1703.03717), equation 1, with O, what must not matter, as the outside of the mask.
    The sum runs over pixels and channels. The paper sums over the images, too; here it is their mean, so that the scale
    does not depend on the batch. Weight decay, the paper's third term, is the optimizer's.

    Probabilities are blind to what all logits have in common, so this loss has no free direction in the head. Its
    gradient is of second order: it needs a model that can be differentiated twice.

    Args:
        weight: λ. The paper chooses it so that both terms are of one order; the authors' code has values about 1000 for
            images in [0, 1]. Ours is a start for normalised images; look at the term beside the task's.

    Raises:
        InputError: a negative weight; in a step, a task without classes.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__(weight)

    def gradient(self, output: Output, label: Tensor) -> Float[Tensor, "B C H W"]:
        """∂/∂x Σ_k log p_k."""
        return log_probability_gradient(output)

    def penalise(
        self,
        gradient: Float[Tensor, "B C H W"],
        inside: Float[Tensor, "B H W"],
        outside: Float[Tensor, "B H W"],
    ) -> Float[Tensor, " B"]:
        """The squares outside, added up."""
        return squared_size(gradient, outside[:, None])


def log_probability_gradient(output: Output) -> Float[Tensor, "B C H W"]:
    """∂/∂x Σ_k log p_k = Σ_k (1 − K p_k) ∂y_k/∂x, K logits y; in the graph while gradients are enabled."""
    probability = at_least_float32(output.logits).softmax(1)
    return image_gradient(output, 1 - probability.shape[1] * probability)


def squared_size(gradient: Float[Tensor, "B C H W"], outside: Float[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Σ_d (O_d g_d)² of each image."""
    return (outside * gradient).square().sum((1, 2, 3))
