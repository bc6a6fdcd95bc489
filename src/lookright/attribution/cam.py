"""Class activation mapping, closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered
from lookright.attribution.target import Target, direction
from lookright.classifier import Classifier, Output
from lookright.errors import InputError


@registered
def cam(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """A = Σ_k w[target, k] F_k, for a head of average pooling + Linear: exact, with no second pass.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.

    With a weight v_k for each logit as the target, w = Σ_k v_k w_k.

    Raises:
        InputError: if the logits are not linear in the mean of the features.
    """
    if not classifier.cam_is_exact:
        raise InputError(
            f"The head of {type(classifier.model).__name__} is not average pooling + Linear, so cam has no weights. "
            "Take grad_cam, or class_map, which picks the one that fits."
        )
    wanted, head = direction(output, target), classifier.class_weight
    # b: image, k: channel, h w: grid
    with torch.autocast(head.device.type, enabled=False):
        is_class = target.ndim == 1 and len(head) > 1
        weight = at_least_float32(head[target]) if is_class else wanted @ at_least_float32(head)
        return torch.einsum("bk,bkhw->bhw", weight, at_least_float32(output.features))
