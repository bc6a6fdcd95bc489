"""The gradient at the input, known as saliency or vanilla gradient."""

from jaxtyping import Float
from torch import Tensor

from lookright.attribution.channels import Channels, over_channels
from lookright.attribution.gradient import image_gradient
from lookright.attribution.registry import registered, starts_from
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
@starts_from("image")
def input_gradient(
    classifier: Classifier, output: Output, target: Target, channels: Channels = "absolute"
) -> Float[Tensor, "B H W"]:
    """A = Σ_c |∂logit[target]/∂image_c|, on the grid of the image.

    Simonyan et al., "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
    2013, arXiv:1312.6034, section 3; they take the maximum over the channels.

    Args:
        classifier: gave the output.
        output: of `classifier(image.requires_grad_())`.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        channels: how the channels of a pixel become one value: `absolute` Σ|·|, `signed` Σ, or `maximum` max|·|.

    Raises:
        InputError: if the output carries no graph from the image to the logits.
    """
    return over_channels(image_gradient(output, target), channels)
