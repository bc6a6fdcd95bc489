"""The gradient that the gradient-weighted maps share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.classifier import Output
from lookright.errors import InputError


def feature_gradient(output: Output, target: Int[Tensor, " B"]) -> Float[Tensor, "B C h w"]:
    """∂logit[target]/∂features in float32, from the features only: nothing below them is differentiated.

    It stays in the graph while gradients are enabled, so that a loss on the map reaches every parameter along both
    paths, through the features and through the gradient.

    Raises:
        InputError: if the output carries no graph from the features to the logits.
    """
    if not (output.logits.requires_grad and output.features.requires_grad):
        raise InputError(
            "This map differentiates the logits with respect to the features, but the output carries no graph. "
            "Call classifier(image) with gradients enabled: torch.enable_grad(), and no torch.inference_mode()."
        )
    score = output.logits.gather(1, target[:, None]).sum()
    whole = output.whole or output
    (gradient,) = torch.autograd.grad(
        score, whole.features, create_graph=torch.is_grad_enabled(), retain_graph=True, allow_unused=True
    )
    if gradient is None:
        raise InputError(
            "The features do not lie on the path to the logits. Name another layer: Classifier(model, features=...)."
        )
    return at_least_float32(gradient[output.start : output.start + len(output.logits)])
