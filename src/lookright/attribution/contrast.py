"""What speaks for a class rather than for its rivals.

Softmax sees differences of logits only. Adding one vector u to every row of the head changes no probability, but adds
u·F to every class map: a loss on the map of one logit can be lowered, and a metric of it raised, with no change of what
decides. In the map of a logit minus its rivals u cancels.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.class_map import class_map
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import Map, registered
from lookright.attribution.target import direction
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_one_of

Rivals = Literal["mean", "softmax", "similar"]


@registered
def contrast(
    classifier: Classifier,
    output: Output,
    target: Int[Tensor, "_"],
    rivals: Rivals = "mean",
    gamma: float = 1.0,
    similar: int = 3,
    of: Map = class_map,
) -> Float[Tensor, "B h w"]:
    """The map of y_target - γ Σ_j r_j y_j, y the logits and r_j the weights of the rivals j ≠ target, Σ_j r_j = 1.

    It is closed-form wherever the map of a class is. Weights by softmax are constants for the gradient that makes the
    map, and are themselves in the graph of the map.

    - `mean`: every rival alike. A class's row of the head minus the mean of the other rows.
    - `softmax`: r_j = p_j / (1 - p_target). Piland et al., "DiffGradCAM: A Universal Class Activation Map Resistant to
      Adversarial Training", 2025, arXiv:2506.08514.
    - `similar`: the rivals whose logits are closest, alike. Zhang et al., "Finer-CAM: Spotting the Difference Reveals
      Finer Details for Visual Explanation", CVPR 2025, arXiv:2501.11309, with three of them and γ = 0.6; its public
      code weighs the three by their probability, with γ = 1.

    A model of two logits has one rival, and all three are the difference of the logits. A model of one logit has none:
    the other class's logit is zero, and the map is that of the logit, negative for label 0.

    Args:
        classifier: gave the output.
        output: of `classifier(image)`, or of `classifier(image.requires_grad_())` where `of` starts from the image.
        target: (B,) the class to explain.
        rivals: `mean`, `softmax` or `similar`.
        gamma: γ in [0, 1]. Below 1 a share 1 - γ of what all classes have in common stays in the map.
        similar: how many rivals are `similar`; all of them where there are fewer.
        of: any map that takes a weight for each logit as its target.

    Raises:
        InputError: an argument is out of its range, there is not one target for each image, or `of` refuses.
    """
    require_one_of("rivals", rivals, ("mean", "softmax", "similar"))
    if not 0 <= gamma <= 1 or similar < 1:
        raise InputError(f"contrast got gamma={gamma} and similar={similar}. Expected 0 <= gamma <= 1 <= similar.")
    own = direction(output, target)
    if own.shape[1] == 1:
        return of(classifier, output, target)
    return of(classifier, output, own - gamma * _weights(at_least_float32(output.logits), own.bool(), rivals, similar))


@registered
def contrast_softmax(classifier: Classifier, output: Output, target: Int[Tensor, "_"]) -> Float[Tensor, "B h w"]:
    """`contrast` with `rivals="softmax"`."""
    return contrast(classifier, output, target, "softmax")


@registered
def contrast_similar(classifier: Classifier, output: Output, target: Int[Tensor, "_"]) -> Float[Tensor, "B h w"]:
    """`contrast` with `rivals="similar"`."""
    return contrast(classifier, output, target, "similar")


def _weights(logits: Tensor, is_target: Tensor, rivals: Rivals, similar: int) -> Float[Tensor, "B K"]:
    classes = logits.shape[1]
    if rivals == "softmax":
        return logits.masked_fill(is_target, -torch.inf).softmax(1)
    if rivals == "mean":
        return (~is_target).to(logits.dtype) / (classes - 1)
    number = min(similar, classes - 1)
    distance = (logits - logits[is_target][:, None]).abs().masked_fill(is_target, torch.inf)
    closest = distance.topk(number, dim=1, largest=False).indices
    return torch.zeros_like(logits).scatter(1, closest, 1 / number)


def common_share(classifier: Classifier) -> float:
    """K |w̄|² / Σ_k |w_k|², w̄ the mean of the head's rows w_k: the share of the head that all classes have in common.

    Between 0 (the rows add up to zero) and 1 (all rows are alike); about 1 / K for independent rows. Class maps of one
    logit show the common part, and no probability depends on it. A head of one logit has no free direction: 0.

    Raises:
        InputError: if there is no single final linear layer.

    >>> classifier = Classifier(torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, 2)
    ... ), input_size=(3, 8, 8))
    >>> with torch.no_grad():
    ...     _ = classifier.head.weight.copy_(torch.tensor([[3.0, 1.0], [3.0, -1.0]]))
    >>> common_share(classifier)
    0.9
    """
    weight = classifier.class_weight.detach().double()
    total = weight.square().sum()
    if len(weight) == 1 or not total:
        return 0.0
    return float(len(weight) * weight.mean(0).square().sum() / total)
