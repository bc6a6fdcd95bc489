"""Maps of what a classifier looks at: batched, on the device, differentiable."""

from lookright.attribution.cam import cam
from lookright.attribution.class_map import class_map
from lookright.attribution.grad_cam import grad_cam
from lookright.attribution.normalise import minmax, relu, sum_to_one

__all__ = ["cam", "class_map", "grad_cam", "minmax", "relu", "sum_to_one"]
