"""The map that a name or an import path says, and the map of what a classifier predicts."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.registry import MAPS, Map, start_of
from lookright.attribution.target import predicted_class
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, nearest
from lookright.import_path import imported


def find_map(name: str) -> Map:
    """The map of that name, or at that import path.

    Args:
        name: a name in `MAPS`, or the import path of a function `map(classifier, output, target)` that gives (B, h, w),
            such as `my.module.my_map`. A function that differentiates with respect to the image is marked by
            `@attribution.starts_from("image")`.

    Raises:
        InputError: there is none.

    >>> find_map("lookright.attribution.grad_cam").__name__
    'grad_cam'
    """
    if name in MAPS:
        return MAPS[name]
    found = imported(name, "map")
    if not callable(found):
        raise InputError(
            f"No map {name!r}.{nearest(name, MAPS)} Expected {', '.join(MAPS)}, or an import path my.module.my_map."
        )
    return found


def explain_prediction(
    classifier: Classifier, image: Float[Tensor, "B C H W"], map: str | Map = "class_map"
) -> tuple[Output, Float[Tensor, "B h w"]]:
    """One forward, and the map of each image's predicted class, detached.

    Args:
        classifier: in the mode it shall run in.
        image: (B, C, H, W), normalised as the model expects.
        map: a name in `MAPS`, an import path, or the map itself.

    Raises:
        InputError: there is no such map, or it does not fit the classifier.
    """
    explain = find_map(map) if isinstance(map, str) else map
    output = _forward(classifier, image, explain)
    return output, explain(classifier, output, predicted_class(output.logits)).detach()


def explain_class(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    target: Int[Tensor, " B"],
    map: str | Map = "class_map",
) -> Float[Tensor, "B h w"]:
    """One forward, and the map of a given class of each image, detached; arguments as in `explain_prediction`."""
    explain = find_map(map) if isinstance(map, str) else map
    with torch.enable_grad():
        return explain(classifier, _forward(classifier, image, explain), target).detach()


def _forward(classifier: Classifier, image: Tensor, explain: Map) -> Output:
    return classifier(image.detach().requires_grad_() if start_of(explain) == "image" else image)
