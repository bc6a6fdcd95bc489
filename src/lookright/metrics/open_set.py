"""Open set: does the classifier notice images of classes it never saw?

Every score is high for unknown images, and `unknown` says which images are, as booleans or as 0 and 1. For attack
detection read *attack* for unknown and *bona fide* for known. Metrics need images of both kinds, and are NaN without,
or if a score is NaN.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from lookright.errors import InputError, require_one_of

Flags = Bool[Tensor, " N"] | Int[Tensor, " N"]


def maximum_softmax(logits: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """1 − max_k p_k, in [0, 1 − 1/K]. Hendrycks and Gimpel, ICLR 2017.

    >>> maximum_softmax(torch.tensor([[0.0, 0.0], [50.0, 0.0]]))
    tensor([5.0000e-01, 1.9287e-22])
    """
    probability = logits.float().softmax(1)
    # The sum of the others, not 1 - max: that is 0 for every confident image, and ties cannot be ranked.
    return probability.scatter(1, probability.argmax(1, keepdim=True), 0.0).sum(1)


def energy(logits: Float[Tensor, "B K"], temperature: float = 1.0) -> Float[Tensor, " B"]:
    """−T · log Σ_k exp(z_k / T), the free energy. Liu et al., "Energy-based OOD Detection", NeurIPS 2020, equation 4.

    >>> energy(torch.tensor([[0.0, 0.0]]))
    tensor([-0.6931])
    """
    return -temperature * (logits.float() / temperature).logsumexp(1)


def class_means(embedding: Float[Tensor, "N D"], label: Int[Tensor, " N"]) -> Float[Tensor, "K D"]:
    """The mean embedding of each label that occurs among the training images, for `embedding_distance`.

    >>> class_means(torch.tensor([[0.0, 2.0], [2.0, 2.0], [5.0, 5.0]]), torch.tensor([3, 3, 7]))
    tensor([[1., 2.],
            [5., 5.]])
    """
    index, count = label.unique(return_inverse=True, return_counts=True)[1:]
    total = embedding.new_zeros(len(count), embedding.shape[1], dtype=torch.float32)
    return total.index_add(0, index, embedding.float()) / count[:, None]


def embedding_distance(embedding: Float[Tensor, "B D"], means: Float[Tensor, "K D"]) -> Float[Tensor, " B"]:
    """Euclidean distance of each embedding to the nearest class mean of the training images.

    >>> embedding_distance(torch.tensor([[3.0, 4.0]]), means=torch.tensor([[0.0, 0.0], [9.0, 4.0]]))
    tensor([5.])
    """
    # Differences, not |a|² + |b|² − 2ab, which cancels for embeddings close to a mean.
    return torch.cdist(embedding.float(), means.float(), compute_mode="donot_use_mm_for_euclid_dist").amin(1)


def auroc(score: Float[Tensor, " N"], unknown: Flags) -> Float[Tensor, ""]:
    """The chance that an unknown image scores higher than a known one, ties counting half; higher is better.

    >>> auroc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, False, True, True]))
    tensor(0.8750)
    """
    unknown = unknown.bool()
    if _undefined(score, unknown):
        return score.new_tensor(torch.nan)
    return binary_auroc(_rank(score), unknown.long()).float()


def aupr(
    score: Float[Tensor, " N"], unknown: Flags, positive: Literal["unknown", "known"] = "unknown"
) -> Float[Tensor, ""]:
    """Area under the precision-recall curve, as average precision; higher is better.

    Args:
        score: (N), high for unknown images.
        unknown: (N).
        positive: which images are to be found: the unknown by a high score, or the known by a low one. Without skill
            the area is the share of the positive images.

    >>> score, unknown = torch.tensor([0.1, 0.4, 0.3, 0.9]), torch.tensor([False, False, True, True])
    >>> aupr(score, unknown), aupr(score, unknown, positive="known")
    (tensor(0.8333), tensor(0.8333))
    """
    require_one_of("positive", positive, ("unknown", "known"))
    unknown = unknown.bool()
    if _undefined(score, unknown):
        return score.new_tensor(torch.nan)
    if positive == "known":
        score, unknown = -score, ~unknown
    return binary_average_precision(_rank(score), unknown.long()).float()


def fpr_at_tpr(score: Float[Tensor, " N"], unknown: Flags, tpr: float = 0.95) -> Float[Tensor, ""]:
    """Share of the unknown images taken for known at the lowest threshold that takes `tpr` of the known for known.

    An image is taken for known if its score is at or below the threshold. Lower is better.

    >>> fpr_at_tpr(torch.tensor([0.1, 0.2, 0.3, 0.25, 0.9]), torch.tensor([False, False, False, True, True]))
    tensor(0.5000)
    """
    unknown = unknown.bool()
    if _undefined(score, unknown):
        return score.new_tensor(torch.nan)
    return (score[unknown] <= _threshold(score[~unknown], tpr)).float().mean()


def apcer_at_bpcer(
    score: Float[Tensor, " N"],
    attack: Flags,
    bpcer: float = 0.01,
    attack_type: Int[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Share of the attacks taken for bona fide where at most `bpcer` of the bona fide are taken for attacks.

    ISO/IEC 30107-3. Lower is better.

    Args:
        score: (N), high for attacks.
        attack: (N).
        bpcer: bona fide presentation classification error rate at which the threshold is set.
        attack_type: (N), given: the rate of the type that passes most often, as the standard asks; the types of bona
            fide images are not read.

    >>> score, attack = torch.tensor([0.1, 0.2, 0.9, 0.8, 0.15]), torch.tensor([False, False, True, True, True])
    >>> apcer_at_bpcer(score, attack), apcer_at_bpcer(score, attack, attack_type=torch.tensor([0, 0, 1, 2, 2]))
    (tensor(0.3333), tensor(0.5000))
    """
    attack = attack.bool()
    if _undefined(score, attack):
        return score.new_tensor(torch.nan)
    passes = score[attack] <= _threshold(score[~attack], 1 - bpcer)
    if attack_type is None:
        return passes.float().mean()
    _, kind, size = attack_type[attack].unique(return_inverse=True, return_counts=True)
    return (torch.bincount(kind[passes], minlength=len(size)) / size).amax()


def _undefined(score: Tensor, unknown: Tensor) -> bool:
    return bool(unknown.all() or not unknown.any() or score.isnan().any())


def _threshold(score: Tensor, share: float) -> Tensor:
    """The lowest score at or below which at least this share of the scores lies."""
    # Rounded, because 0.99 * 100 must not ask for 100 on account of its last bit.
    needed = math.ceil(round(share * len(score), 6))
    return score.sort().values[max(needed, 1) - 1]


def _rank(score: Tensor) -> Tensor:
    # torchmetrics passes scores outside [0, 1] through a sigmoid, which ties all large ones at 1; ranks keep the order.
    place = score.unique(return_inverse=True)[1].double()
    return place / len(score)


class _OpenSet(Metric):
    """Keeps every score: a threshold or a ranking needs them all."""

    is_differentiable = False
    full_state_update = False

    score: list[Tensor]
    unknown: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("score", [], dist_reduce_fx="cat")
        self.add_state("unknown", [], dist_reduce_fx="cat")

    def update(self, score: Float[Tensor, " B"], unknown: Flags) -> None:
        """Keep scores, high for unknown images, and which images are unknown."""
        self.score.append(score.detach().float())
        self.unknown.append(unknown.bool())

    def _kept(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(self.score), dim_zero_cat(self.unknown)


class AUROC(_OpenSet):
    """See `auroc`."""

    higher_is_better = True

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]."""
        return auroc(*self._kept())


class AUPR(_OpenSet):
    """See `aupr`; arguments as there."""

    higher_is_better = True

    def __init__(self, positive: Literal["unknown", "known"] = "unknown", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positive: Literal["unknown", "known"] = positive

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]."""
        return aupr(*self._kept(), self.positive)


class FPRAtTPR(_OpenSet):
    """See `fpr_at_tpr`; arguments as there."""

    higher_is_better = False

    def __init__(self, tpr: float = 0.95, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tpr = tpr

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]."""
        return fpr_at_tpr(*self._kept(), self.tpr)


class APCERAtBPCER(_OpenSet):
    """See `apcer_at_bpcer`; arguments as there.

    Args:
        bpcer: at which the threshold is set.
        per_type: take the rate of the attack type that passes most often; `update` then needs the types.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = False

    attack_type: list[Tensor]

    def __init__(self, bpcer: float = 0.01, per_type: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bpcer = bpcer
        self.per_type = per_type
        self.add_state("attack_type", [], dist_reduce_fx="cat")

    def update(
        self,
        score: Float[Tensor, " B"],
        unknown: Flags,
        attack_type: Int[Tensor, " B"] | None = None,
    ) -> None:
        """Keep scores, high for attacks, which images are attacks, and of which type."""
        if self.per_type != (attack_type is not None):
            raise InputError(
                f"per_type={self.per_type}, attack_type {'given' if attack_type is not None else 'missing'}: "
                "give the types of all images with per_type=True, and none without"
            )
        super().update(score, unknown)
        if attack_type is not None:
            self.attack_type.append(attack_type)

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]."""
        return apcer_at_bpcer(*self._kept(), self.bpcer, dim_zero_cat(self.attack_type) if self.per_type else None)
