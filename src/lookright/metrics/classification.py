"""Classification: accuracy, over domains and groups too, and calibration."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from lookright.errors import InputError
from lookright.metrics.mean import MeanOverDefined


def accuracy(logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Share of images whose highest logit is that of their label; NaN without images.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    """
    return _correct(logits, label).mean()


def group_accuracy(
    logits: Float[Tensor, "B K"], label: Int[Tensor, " B"], domain: Int[Tensor, " B"]
) -> Float[Tensor, "K D"]:
    """Accuracy of each group, that is each pair of a label and a domain; NaN where a group has no image.

    >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> group_accuracy(logits, label=torch.tensor([0, 0, 1]), domain=torch.tensor([0, 1, 1]))
    tensor([[1., 1.],
            [nan, 0.]])
    """
    correct, count = _count_groups(logits, label, domain)
    return correct / count


def domain_accuracy(
    logits: Float[Tensor, "B K"], label: Int[Tensor, " B"], domain: Int[Tensor, " B"]
) -> Float[Tensor, " D"]:
    """Accuracy of each domain; NaN where a domain has no image."""
    correct, count = _count_groups(logits, label, domain)
    return correct.sum(0) / count.sum(0)


def worst_group_accuracy(
    logits: Float[Tensor, "B K"], label: Int[Tensor, " B"], domain: Int[Tensor, " B"], *, minimum_size: int = 1
) -> Float[Tensor, ""]:
    """The lowest accuracy among the groups, pairs of a label and a domain, of at least `minimum_size` images.

    The minimum over small groups lies below the accuracy of any group by chance alone: with many groups of few images,
    compare it only between methods on the same images, or raise `minimum_size`. NaN where no group is large enough.

    Sagawa et al., "Distributionally Robust Neural Networks", ICLR 2020.
    """
    return _worst(*_count_groups(logits, label, domain), minimum_size)


def balanced_accuracy(logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean over the classes that occur of the accuracy of their images; NaN without images.

    Brodersen et al., "The Balanced Accuracy and Its Posterior Distribution", ICPR 2010.

    >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> balanced_accuracy(logits, torch.tensor([0, 0, 0, 0])), balanced_accuracy(logits, torch.tensor([0, 0, 1, 1]))
    (tensor(0.7500), tensor(0.7500))
    """
    correct, count = _count_groups(logits, label, torch.zeros_like(label))
    return (correct / count).nanmean()


def expected_calibration_error(
    logits: Float[Tensor, "B K"], label: Int[Tensor, " B"], *, bins: int = 15
) -> Float[Tensor, ""]:
    """Σ_m |B_m| / n · |accuracy(B_m) − confidence(B_m)| over equal bins of the confidence; in [0, 1], lower is better.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    return _calibration_error(*_count_bins(logits, label, bins))


def reliability(
    confidence: Float[Tensor, " B"], correct: Float[Tensor, " B"], *, bins: int = 15
) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"], Int[Tensor, " bins"]]:
    """What a reliability diagram shows: mean confidence, accuracy and number of images of equal bins of the confidence.

    NaN in bins without images. The bins are those of `expected_calibration_error`. DeGroot and Fienberg, "The
    Comparison and Evaluation of Forecasters", The Statistician 1983.

    Args:
        confidence: (B), the highest probability of each image.
        correct: (B), 1 where the class of that probability is the label, else 0.
        bins: how many equal ones.

    >>> reliability(torch.tensor([0.9, 0.8, 0.6]), torch.tensor([1.0, 0.0, 1.0]), bins=4)
    (tensor([   nan,    nan, 0.6000, 0.8500]), tensor([   nan,    nan, 1.0000, 0.5000]), tensor([0, 0, 1, 2]))
    """
    right, sum_of_confidence, count = _bin(confidence, correct, bins)
    return sum_of_confidence / count, right / count, count.long()


def brier_score(logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean of Σ_k (p_k − 1[k = label])²; in [0, 2], lower is better.

    >>> brier_score(torch.zeros(1, 2), torch.tensor([0]))
    tensor(0.5000)
    """
    return _squared_error(logits, label).mean()


def negative_log_likelihood(logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean of −log p(label) in nats; lower is better."""
    return F.cross_entropy(_at_least_two(logits).float(), label)


def _correct(logits: Tensor, label: Tensor) -> Tensor:
    return (_at_least_two(logits).argmax(1) == label).float()


def _squared_error(logits: Tensor, label: Tensor) -> Tensor:
    probability = _at_least_two(logits).float().softmax(1)
    return (probability - F.one_hot(label, probability.shape[1])).square().sum(1)


def _at_least_two(logits: Tensor) -> Tensor:
    """A single logit z speaks for label 1: the softmax of 0 and z is the sigmoid of z."""
    return F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits


def _count_groups(logits: Tensor, label: Tensor, domain: Tensor, domains: int | None = None) -> tuple[Tensor, Tensor]:
    """(K, D) each: how many images of a group are right, and how many there are; D: None for as many as occur."""
    logits = _at_least_two(logits)
    classes = logits.shape[1]
    if domains is None:
        domains = int(domain.max()) + 1 if len(domain) else 1
    for name, index, size in (("label", label, classes), ("domain", domain, domains)):
        if index.numel() and not 0 <= index.min() <= index.max() < size:
            raise InputError(f"{name} reaches from {index.min()} to {index.max()}: expected 0 to {size - 1}")
    correct = logits.argmax(1) == label
    count = torch.bincount((label * domains + domain) * 2 + correct, minlength=2 * classes * domains)
    count = count.view(classes, domains, 2)
    return count[..., 1], count.sum(-1)


def _worst(correct: Tensor, count: Tensor, minimum_size: int) -> Tensor:
    eligible = count >= minimum_size
    lowest = torch.where(eligible, correct / count, torch.inf).amin()
    return torch.where(eligible.any(), lowest, torch.nan)


def _count_bins(logits: Tensor, label: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """(bins) each: right images, sum of the confidence, number of images."""
    return _bin(_at_least_two(logits).float().softmax(1).amax(1), _correct(logits, label), bins)


def _bin(confidence: Tensor, correct: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    # Bins are (0, 1/m], ..., ((m-1)/m, 1].
    member = F.one_hot((confidence * bins).ceil().long().clamp(1, bins) - 1, bins).float()
    # Sums, not matrix products: those lose counts above 256 under bfloat16 autocast.
    return (correct[:, None] * member).sum(0), (confidence[:, None] * member).sum(0), member.sum(0)


def _calibration_error(correct: Tensor, confidence: Tensor, count: Tensor) -> Tensor:
    return (correct - confidence).abs().sum() / count.sum()


class Accuracy(MeanOverDefined):
    """Share of images whose highest logit is that of their label."""

    higher_is_better = True

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> None:  # type: ignore[override]
        """Count images in."""
        self.add(_correct(logits, label))


class BrierScore(MeanOverDefined):
    """See `brier_score`."""

    higher_is_better = False

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> None:  # type: ignore[override]
        """Count images in."""
        self.add(_squared_error(logits, label))


class NegativeLogLikelihood(MeanOverDefined):
    """See `negative_log_likelihood`."""

    higher_is_better = False

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> None:  # type: ignore[override]
        """Count images in."""
        self.add(F.cross_entropy(_at_least_two(logits).float(), label, reduction="none"))


class GroupAccuracy(Metric):
    """Accuracy of each group, (classes, domains); NaN where a group has no image. See `group_accuracy`.

    Args:
        classes: number of labels.
        domains: number of domains.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    correct: Tensor
    count: Tensor

    def __init__(self, classes: int, domains: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domains = domains
        self.add_state("correct", torch.zeros(classes, domains, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(classes, domains, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"], domain: Int[Tensor, " B"]) -> None:
        """Count images in."""
        correct, count = _count_groups(logits, label, domain, self.domains)
        self.correct += correct
        self.count += count

    def compute(self) -> Tensor:
        """(classes, domains)."""
        return self.correct / self.count


class DomainAccuracy(GroupAccuracy):
    """Accuracy of each domain, (domains); NaN where a domain has no image. Arguments as `GroupAccuracy`."""

    def compute(self) -> Float[Tensor, " D"]:
        """(domains)."""
        return self.correct.sum(0) / self.count.sum(0)


class WorstGroupAccuracy(GroupAccuracy):
    """The lowest accuracy among the groups. See `worst_group_accuracy`.

    Args:
        classes: number of labels.
        domains: number of domains.
        minimum_size: smaller groups are left out.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, classes: int, domains: int, *, minimum_size: int = 1, **kwargs: Any) -> None:
        super().__init__(classes, domains, **kwargs)
        self.minimum_size = minimum_size

    @property
    def smallest_group(self) -> int:
        """How many images the smallest group has that has any; 0 without images."""
        return int(torch.where(self.count > 0, self.count, self.count.max()).min())

    def compute(self) -> Float[Tensor, ""]:
        """Scalar; NaN where no group is large enough."""
        return _worst(self.correct, self.count, self.minimum_size)


class BalancedAccuracy(GroupAccuracy):
    """See `balanced_accuracy`.

    Args:
        classes: number of labels.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(classes, 1, **kwargs)

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> None:  # type: ignore[override]
        """Count images in."""
        super().update(logits, label, torch.zeros_like(label))

    def compute(self) -> Float[Tensor, ""]:
        """Scalar; NaN without images."""
        return (self.correct / self.count).nanmean()


class ExpectedCalibrationError(Metric):
    """See `expected_calibration_error`; keeps counts for each bin, not the predictions.

    Args:
        bins: how many equal bins of the confidence.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    correct: Tensor
    confidence: Tensor
    count: Tensor

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        for state in ("correct", "confidence", "count"):
            self.add_state(state, torch.zeros(bins), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "B K"], label: Int[Tensor, " B"]) -> None:
        """Count images in."""
        correct, confidence, count = _count_bins(logits, label, self.bins)
        self.correct += correct
        self.confidence += confidence
        self.count += count

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [0, 1]."""
        return _calibration_error(self.correct, self.confidence, self.count)
