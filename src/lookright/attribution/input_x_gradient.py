"""Input × gradient."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.channels import Channels, over_channels
from lookright.attribution.gradient import image_gradient
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered, starts_from
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
@starts_from("image")
def input_x_gradient(
    classifier: Classifier, output: Output, target: Target, channels: Channels = "signed"
) -> Float[Tensor, "B H W"]:
    """A = Σ_c image_c ⊙ ∂logit[target]/∂image_c, on the grid of the image: first-order contributions of the pixels.

    Shrikumar et al., "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
    2016, arXiv:1605.01713. The image counts as the model gets it: a pixel of the mean colour contributes nothing.

    Args:
        classifier: gave the output.
        output: of `classifier(image.requires_grad_())`.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        channels: how the channels of a pixel become one value: `absolute` Σ|·|, `signed` Σ, or `maximum` max|·|.

    Raises:
        InputError: if the output carries no graph from the image to the logits.
    """
    gradient = image_gradient(output, target)
    assert output.image is not None  # Its gradient exists.
    with torch.autocast(gradient.device.type, enabled=False):
        return over_channels(gradient * at_least_float32(output.image), channels)
