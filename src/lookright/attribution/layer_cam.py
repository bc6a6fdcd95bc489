"""LayerCAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import feature_gradient
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
def layer_cam(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """A = Σ_k ReLU(∂logit[target]/∂F_k) ⊙ F_k; no ReLU of the sum, which is a normaliser.

    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions on Image
    Processing, 2021. It stays sharp on early layers: `Classifier(model, features="layer2")`.

    Raises:
        InputError: if the output carries no graph from the features to the logits.
    """
    gradient = feature_gradient(output, target)
    with torch.autocast(gradient.device.type, enabled=False):
        return (gradient.clamp_min(0) * at_least_float32(output.features)).sum(1)
