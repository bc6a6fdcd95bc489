"""All maps by name, for command lines, studies and tests: they are called alike."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
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
from lookright.errors import InputError

Map = Callable[[Classifier, Output, Tensor], Tensor]
"""`map(classifier, output, target)` gives (B, h, w): how much each position speaks for the target."""

FEATURE_MAPS: Mapping[str, Map] = {
    "class_map": class_map,
    "cam": cam,
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
}
"""From the output of `classifier(image)`."""

IMAGE_MAPS: Mapping[str, Map] = {
    "input_gradient": input_gradient,
    "input_x_gradient": input_x_gradient,
    "attention_rollout": attention_rollout,
    "attention_gradient": attention_gradient,
}
"""From the output of `classifier(image.requires_grad_())`."""

REFERENCE_MAPS: Mapping[str, Map] = {
    "integrated_gradients": integrated_gradients,
    "smooth_grad": smooth_grad,
    "occlusion": occlusion,
}
"""For evaluation only, through captum, from any output of `classifier(image)`."""

MAPS: Mapping[str, Map] = {**FEATURE_MAPS, **IMAGE_MAPS, **REFERENCE_MAPS}
"""All of them."""


def find_map(name: str) -> Map:
    """The map of that name.

    Raises:
        InputError: there is none.
    """
    if name not in MAPS:
        raise InputError(f"No map {name!r}. Expected {', '.join(MAPS)}.")
    return MAPS[name]


def explain_prediction(
    classifier: Classifier, image: Float[Tensor, "B C H W"], map: str = "class_map"
) -> tuple[Output, Float[Tensor, "B h w"]]:
    """One forward, and the map of each image's predicted class, detached.

    Args:
        classifier: in the mode it shall run in.
        image: (B, C, H, W), normalised as the model expects.
        map: a name in `MAPS`.

    Raises:
        InputError: there is no such map, or it does not fit the classifier.
    """
    explain = find_map(map)
    output = classifier(image.detach().requires_grad_() if map in IMAGE_MAPS else image)
    return output, explain(classifier, output, output.logits.argmax(1)).detach()
