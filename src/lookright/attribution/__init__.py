"""Maps of what a classifier looks at: batched, on the device, differentiable."""

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
from lookright.attribution.maps import FEATURE_MAPS, IMAGE_MAPS, MAPS, REFERENCE_MAPS, Map
from lookright.attribution.normalise import minmax, relu, sum_to_one
from lookright.attribution.reference import integrated_gradients, occlusion, smooth_grad

__all__ = [
    "FEATURE_MAPS",
    "IMAGE_MAPS",
    "MAPS",
    "REFERENCE_MAPS",
    "Map",
    "attention_gradient",
    "attention_rollout",
    "cam",
    "class_map",
    "grad_cam",
    "grad_cam_plus_plus",
    "hires_cam",
    "input_gradient",
    "input_x_gradient",
    "integrated_gradients",
    "layer_cam",
    "minmax",
    "occlusion",
    "relu",
    "smooth_grad",
    "sum_to_one",
]
