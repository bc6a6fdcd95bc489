"""What a classifier is to learn from its labels: the loss of each image, which a method weighs and adds guidance to.

A task is any callable `task(logits, label) -> (B,)`; label smoothing, class weights or a criterion of one's own need
nothing more: `method(classifier, batch, task=CrossEntropy(label_smoothing=0.1))`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.errors import InputError

Task = Callable[[Tensor, Tensor], Tensor]
"""`task(logits, label)` gives (B,), the loss of each image."""


def cross_entropy(logits: Float[Tensor, "B K"], label: Tensor) -> Float[Tensor, " B"]:
    """−log softmax(logits)[label]: one of K classes.

    Args:
        logits: (B, K), of two classes or more.
        label: (B,) int, the class index.

    Raises:
        InputError: a single logit, or labels that are not class indices.

    >>> cross_entropy(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([1, 0])).round(decimals=3)
    tensor([0.6930, 0.0000])
    """
    _check_one_of_many(logits, label)
    return functional.cross_entropy(logits, label, reduction="none")


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy with smoothed labels and weighted classes; averaged over the images, not over their weights.

    Args:
        label_smoothing: share of the label that is spread evenly over all classes (Szegedy et al., CVPR 2016).
        class_weights: one factor a class; None weighs all alike.

    Raises:
        InputError: label smoothing outside [0, 1).

    >>> CrossEntropy(class_weights=[1.0, 2.0])(torch.zeros(2, 2), torch.tensor([0, 1])).round(decimals=3)
    tensor([0.6930, 1.3860])
    """

    label_smoothing: float = 0.0
    class_weights: list[float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing={self.label_smoothing}; expected a share, from 0 to below 1.")

    def __call__(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The loss of each image."""
        _check_one_of_many(logits, label)
        weight = None
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                raise InputError(
                    f"{len(self.class_weights)} class weights for {logits.shape[1]} classes; expected one for each."
                )
            weight = logits.new_tensor(self.class_weights)
        return functional.cross_entropy(logits, label, weight, reduction="none", label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class Focal:
    """(1 − p)^γ · (−log p), p the probability of the label: what is known already counts less.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.

    Args:
        gamma: γ; 0 is cross-entropy.

    Raises:
        InputError: γ below 0.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise InputError(f"gamma={self.gamma}; expected a number from 0 up.")

    def __call__(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The loss of each image."""
        loss = cross_entropy(logits, label)
        # 1 − p = −expm1(−loss), without cancellation; clamped so that the power's gradient stays finite at p = 1.
        return (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).eps) ** self.gamma * loss


def binary(logits: Float[Tensor, "B K"], label: Tensor) -> Float[Tensor, " B"]:
    """Yes or no from one logit: −log σ(logit) where the label is 1, −log σ(−logit) where it is 0.

    Args:
        logits: (B, 1).
        label: (B,), 0 or 1.

    Raises:
        InputError: more than one logit, or more than one label an image.

    >>> binary(torch.tensor([[0.0], [9.0]]), torch.tensor([0, 1])).round(decimals=3)
    tensor([0.6930, 0.0000])
    """
    if logits.ndim != 2 or logits.shape[1] != 1:
        raise InputError(f"Logits {tuple(logits.shape)}; expected (B, 1): binary learns from one logit an image.")
    if label.numel() != len(logits):
        raise InputError(f"Labels {tuple(label.shape)} for {len(logits)} images; expected one 0 or 1 for each.")
    target = label.reshape(-1).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")


def multi_label(logits: Float[Tensor, "B K"], label: Tensor) -> Float[Tensor, " B"]:
    """Any number of K classes: the mean over the classes of the binary loss of each.

    Args:
        logits: (B, K).
        label: (B, K), 1 where the image shows the class, else 0.

    Raises:
        InputError: labels of another shape.

    >>> multi_label(torch.zeros(1, 3), torch.tensor([[1, 0, 1]])).round(decimals=3)
    tensor([0.6930])
    """
    if label.shape != logits.shape:
        raise InputError(
            f"Labels {tuple(label.shape)} for logits {tuple(logits.shape)}; expected a 0 or 1 for each class."
        )
    return functional.binary_cross_entropy_with_logits(logits, label.to(logits.dtype), reduction="none").mean(1)


def _check_one_of_many(logits: Tensor, label: Tensor) -> None:
    if logits.ndim == 2 and logits.shape[1] == 1:
        raise InputError(
            "The model gives one logit, whose cross-entropy is 0 whatever it learns. Train with task=tasks.binary, or "
            "give the model two classes."
        )
    if label.ndim != 1 or label.is_floating_point():
        raise InputError(
            f"Labels {tuple(label.shape)} of {str(label.dtype).removeprefix('torch.')}; cross-entropy expects (B,) "
            "class indices. For several classes an image take task=tasks.multi_label."
        )
