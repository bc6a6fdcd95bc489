"""Maps of what a classifier looks at: batched, on the device, differentiable."""

from lookright.attribution.cam import cam
from lookright.attribution.normalise import minmax, relu, sum_to_one

__all__ = ["cam", "class_map", "minmax", "relu", "sum_to_one"]

class_map = cam
