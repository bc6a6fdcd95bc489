"""The cheapest exact class map for the head at hand."""

from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.cam import cam
from lookright.attribution.grad_cam import grad_cam
from lookright.classifier import Classifier, Output


def class_map(classifier: Classifier, output: Output, target: Int[Tensor, " B"]) -> Float[Tensor, "B h w"]:
    """`cam` where the head is average pooling + Linear, `grad_cam` everywhere else."""
    return (cam if classifier.cam_is_exact else grad_cam)(classifier, output, target)
