"""What a map explains: a class, or a weighted sum of the logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.classifier import Output
from lookright.errors import InputError

Target = Int[Tensor, "_"] | Float[Tensor, "_ K"]
"""(B,) the class of each image, or (B, K) the weight of each logit in the score that is explained."""


def direction(output: Output, target: Target) -> Float[Tensor, "B K"]:
    """The weights of the logits in the score: one-hot for a class, and a given weighted sum as it is.

    A single logit speaks for label 1 when positive and for label 0 when negative: its weight is 1 for label 1 and -1
    for label 0.

    Raises:
        InputError: if there is not one target for each image.

    >>> logits = torch.zeros(2, 3)
    >>> direction(Output(logits, logits, logits[..., None, None]), torch.tensor([2, 0]))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    logits = at_least_float32(output.logits)
    if target.ndim == 2 and target.shape == logits.shape:
        return target.to(logits.dtype)
    if target.shape != logits.shape[:1] or target.is_floating_point():
        raise InputError(
            f"target has shape {tuple(target.shape)} and type {target.dtype} for {len(logits)} images and "
            f"{logits.shape[1]} logits. Expected one class for each image, integers ({len(logits)},): "
            "torch.full((len(image),), 3) for class 3; or a weight for each logit, "
            f"floats {tuple(logits.shape)}."
        )
    if logits.shape[1] == 1:
        return (2 * target[:, None] - 1).to(logits.dtype)
    return torch.zeros_like(logits).scatter(1, target[:, None], 1)


def predicted_class(logits: Float[Tensor, "B K"]) -> Int[Tensor, " B"]:
    """The class of the largest logit; of a single logit, 1 where it is positive.

    >>> predicted_class(torch.tensor([[-1.0], [2.0]]))
    tensor([0, 1])
    """
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
