"""Where a model's features, embedding and head are."""

from dataclasses import dataclass
from typing import Literal

from lookright.classifier.grid import Grid


@dataclass(frozen=True)
class Site:
    """A place that a tensor passes: an input or output of a module.

    Attributes:
        module: dotted name.
        side: "input" or "output".
        leaf: which of the tensors, where there are several.
        call: which call, where the module is used several times in one forward.
    """

    module: str
    side: Literal["input", "output"]
    leaf: int = 0
    call: int = 0


@dataclass(frozen=True)
class Route:
    """The way of one forward.

    Attributes:
        features: the last place where one spatial map carries all that the logits know of the image.
        grid: its layout, for the size of image that it was found with.
        embedding: the inputs of the final linear layer or layers, before dropout; empty where the model has none, and
            the mean of the features over their grid stands in.
        head: name of the final linear layer (an `nn.Linear` or a 1×1 convolution), where there is exactly one.
        linear: the logits are the head on the mean of the features over their grid, so that CAM is exact.
        methods: timm's `forward_features` and `forward_head` lead here as well, without hooks.
    """

    features: Site
    grid: Grid
    embedding: tuple[Site, ...]
    head: str | None
    linear: bool
    methods: bool = False
