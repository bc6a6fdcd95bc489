"""The gradients that maps are made of."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.attribution.target import Target, direction
from lookright.classifier import Output
from lookright.errors import InputError


def feature_gradient(output: Output, target: Target) -> Float[Tensor, "B C h w"]:
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
    (gradient,) = target_gradient(output, target, [(output.whole or output).features])
    if gradient is None:
        raise InputError(
            "The features do not lie on the path to the logits. Name another layer: Classifier(model, features=...)."
        )
    return at_least_float32(gradient[output.start : output.start + len(output.logits)])


def image_gradient(output: Output, target: Target) -> Float[Tensor, "B C H W"]:
    """∂logit[target]/∂image in float32; in the graph while gradients are enabled.

    Raises:
        InputError: if the output carries no graph from the image to the logits.
    """
    (gradient,) = target_gradient(output, target, [image_in_graph(output)])
    if gradient is None:
        raise InputError("The logits do not depend on the image in a way that can be differentiated.")
    return at_least_float32(gradient[output.start : output.start + len(output.logits)])


def loss_gradient(output: Output, label: Int[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
    """∂CE/∂image = Σ_k (p_k − 1[k = label]) ∂y_k/∂image, y the logits; see `image_gradient`."""
    logits = at_least_float32(output.logits)
    return image_gradient(output, logits.softmax(1) - functional.one_hot(label, logits.shape[1]))


def image_in_graph(output: Output) -> Float[Tensor, "N C H W"]:
    """The images of the whole forward, which the graph of the logits begins with.

    Raises:
        InputError: if it does not.
    """
    image = (output.whole or output).image
    if image is None or not (image.requires_grad and output.logits.requires_grad):
        raise InputError(
            "This map needs the graph from the image to the logits, but the output has none. Call "
            "classifier(image.requires_grad_()) with gradients enabled, before the image is joined with others."
        )
    return image


def target_gradient(
    output: Output, target: Target, inputs: list[Tensor], constant: bool = False
) -> tuple[Tensor | None, ...]:
    """∂logit[target]/∂input for each input; None for inputs that are not on the path to the logits.

    Weights of logits as the target are constants of this gradient, and in the graph of the result. A `constant` result
    has no graph, and costs no second derivative.
    """
    weight = direction(output, target).to(output.logits.dtype)
    create_graph = torch.is_grad_enabled() and not constant
    return torch.autograd.grad(
        output.logits, inputs, weight, create_graph=create_graph, retain_graph=True, allow_unused=True
    )
