"""Grad-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import feature_gradient
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
def grad_cam(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """A = Σ_k α_k F_k, where α_k is the mean over the grid of ∂logit[target]/∂F_k; no ReLU, which is a normaliser.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 and 2. Where the head is average pooling + Linear it is `cam` divided by h·w.

    Raises:
        InputError: if the output carries no graph from the features to the logits.
    """
    gradient = feature_gradient(output, target)
    # b: image, k: channel, h w: grid
    with torch.autocast(gradient.device.type, enabled=False):
        return torch.einsum("bk,bkhw->bhw", gradient.mean((2, 3)), at_least_float32(output.features))
