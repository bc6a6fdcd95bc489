"""Grad-CAM++."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import feature_gradient
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
def grad_cam_plus_plus(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """A = Σ_k w_k F_k, w_k = Σ_ij α_k^ij ReLU(g_k^ij), α_k^ij = (g_k^ij)² / (2 (g_k^ij)² + Σ_ab F_k^ab (g_k^ij)³).

    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
    WACV 2018, equations 5 to 7 and 19. As in the paper and in every implementation, the class score is exp(logit) and
    the way to the logit is taken as piecewise linear, so that second and third derivatives are powers of the first,
    g = ∂logit[target]/∂F. The factor exp(logit) of w_k, one number per image, is left out: no normaliser sees it.

    The paper assumes F ≥ 0, where the denominator is positive. Where F can be negative (SiLU, GELU, tokens) it can
    vanish; then the position counts nothing, and close to that the map says little. `layer_cam` has no such trouble.

    Raises:
        InputError: if the output carries no graph from the features to the logits.
    """
    gradient = feature_gradient(output, target)
    # b: image, k: channel, h w: grid
    with torch.autocast(gradient.device.type, enabled=False):
        features = at_least_float32(output.features)
        # α ReLU(g), divided through by g² > 0.
        denominator = 2 + features.sum((2, 3), keepdim=True) * gradient
        vanishes = denominator.abs() < torch.finfo(denominator.dtype).eps
        weight = gradient.clamp_min(0).masked_fill(vanishes, 0) / denominator.masked_fill(vanishes, 1)
        return torch.einsum("bk,bkhw->bhw", weight.sum((2, 3)), features)
