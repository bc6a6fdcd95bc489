"""Class activation mapping, closed form."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.classifier import Classifier, Output


def cam(classifier: Classifier, output: Output, target: Int[Tensor, " B"]) -> Float[Tensor, "B h w"]:
    """A = Σ_k w[target, k] F_k: exact where the head is average pooling + Linear. No second pass.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.
    """
    # b: image, k: channel, h w: grid
    with torch.autocast(output.features.device.type, enabled=False):
        return torch.einsum("bk,bkhw->bhw", classifier.head.weight[target].float(), output.features.float())
