"""The cheapest exact class map for the head at hand."""

from jaxtyping import Float
from torch import Tensor

from lookright.attribution.cam import cam
from lookright.attribution.grad_cam import grad_cam
from lookright.attribution.registry import registered
from lookright.attribution.target import Target
from lookright.classifier import Classifier, Output


@registered
def class_map(classifier: Classifier, output: Output, target: Target) -> Float[Tensor, "B h w"]:
    """`cam` where the head is average pooling + Linear, `grad_cam` everywhere else."""
    return (cam if classifier.cam_is_exact else grad_cam)(classifier, output, target)
