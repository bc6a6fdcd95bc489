"""Class activation mapping, closed form."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.classifier import Classifier, Output
from lookright.errors import InputError


def cam(classifier: Classifier, output: Output, target: Int[Tensor, " B"]) -> Float[Tensor, "B h w"]:
    """A = Σ_k w[target, k] F_k, for a head of average pooling + Linear: exact, with no second pass.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.

    Raises:
        InputError: if the logits are not linear in the mean of the features.
    """
    if not classifier.cam_is_exact:
        raise InputError(
            f"The head of {type(classifier.model).__name__} is not average pooling + Linear, so cam has no weights. "
            "Take grad_cam, or class_map, which picks the one that fits."
        )
    weight = at_least_float32(classifier.class_weight[target])
    # b: image, k: channel, h w: grid
    with torch.autocast(weight.device.type, enabled=False):
        return torch.einsum("bk,bkhw->bhw", weight, at_least_float32(output.features))
