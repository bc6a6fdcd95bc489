"""All maps by name, for command lines, studies and tests: they are called alike."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.attention_gradient import attention_gradient
from lookright.attribution.attention_rollout import attention_rollout
from lookright.attribution.cam import cam
from lookright.attribution.class_map import class_map
from lookright.attribution.grad_cam import grad_cam
from lookright.attribution.grad_cam_plus_plus import grad_cam_plus_plus
from lookright.attribution.hires_cam import hires_cam
from lookright.attribution.input_gradient import input_gradient
from lookright.attribution.input_x_gradient import input_x_gradient
from lookright.attribution.layer_cam import layer_cam
from lookright.attribution.reference import integrated_gradients, occlusion, smooth_grad
from lookright.classifier import Classifier, Output


class Map(Protocol):
    """What every map is."""

    __name__: str

    def __call__(self, classifier: Classifier, output: Output, target: Int[Tensor, " B"], /) -> Float[Tensor, "B h w"]:
        """How much each position speaks for the target."""


def _by_name(*maps: Map) -> Mapping[str, Map]:
    return MappingProxyType({map.__name__: map for map in maps})


FEATURE_MAPS = _by_name(class_map, cam, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam)
"""From the output of `classifier(image)`."""

IMAGE_MAPS = _by_name(input_gradient, input_x_gradient, attention_rollout, attention_gradient)
"""From the output of `classifier(image.requires_grad_())`."""

REFERENCE_MAPS = _by_name(integrated_gradients, smooth_grad, occlusion)
"""For evaluation only, through captum, from any output of `classifier(image)`."""

MAPS: Mapping[str, Map] = MappingProxyType({**FEATURE_MAPS, **IMAGE_MAPS, **REFERENCE_MAPS})
"""All of them."""
