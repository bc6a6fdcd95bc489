"""Maps by name, and what each starts from."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from torch import Tensor

from lookright.classifier import Classifier, Output
from lookright.errors import require_one_of

Map = Callable[[Classifier, Output, Tensor], Tensor]
"""`map(classifier, output, target)` gives (B, h, w): how much each position speaks for the target."""

Start = Literal["features", "image", "model"]
"""features: from the output of `classifier(image)`. image: from that of `classifier(image.requires_grad_())`. model:
from any output, by running the model many times; for evaluation only."""

_Function = TypeVar("_Function", bound=Callable[..., Any])

MAPS: dict[str, Map] = {}
"""The maps of this package, for command lines, studies and tests: they are called alike."""


def starts_from(start: Start) -> Callable[[_Function], _Function]:
    """Say what a map starts from; without it, from the features.

    >>> @starts_from("image")
    ... def my_map(classifier, output, target): ...
    >>> start_of(my_map)
    'image'
    """
    require_one_of("start", start, ("features", "image", "model"))

    def mark(map: _Function) -> _Function:
        map.start = start  # type: ignore[attr-defined]
        return map

    return mark


def start_of(map: Map) -> Start:
    """What a map starts from."""
    return getattr(map, "start", "features")


def registered(map: _Function) -> _Function:
    """Let a map of this package be found by its name."""
    MAPS[map.__name__] = map
    return map
