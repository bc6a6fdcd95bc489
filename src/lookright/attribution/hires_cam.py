"""HiResCAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import feature_gradient
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
def hires_cam(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """A = Σ_k (∂logit[target]/∂F_k) ⊙ F_k: the gradient is not averaged over the grid, as Grad-CAM does.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for Faithful Explanations of Convolutional Neural Networks",
    2020, arXiv:2011.08891. Where the head is average pooling + Linear it equals `grad_cam`; where the logits are any
    linear function of the features, its sum over the grid is the logit without the bias.

    Raises:
        InputError: if the output carries no graph from the features to the logits.
    """
    gradient = feature_gradient(output, target)
    with torch.autocast(gradient.device.type, enabled=False):
        return (gradient * at_least_float32(output.features)).sum(1)
