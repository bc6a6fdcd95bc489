"""How alike are the map and a human saliency map, or fixations, as the MIT/Tübingen saliency benchmark defines it?

Bylinskii et al., "What Do Different Evaluation Metrics Tell Us About Saliency Models?", TPAMI 2019. The map (B, h, w)
is resized bilinearly to the human map or the fixations (B, H, W); one value an image comes back, NaN where it is
undefined. Pixels of which at least half is ignored count nowhere.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lookright.errors import InputError
from lookright.metrics.alignment import Alignment, Ignore, inside_and_outside, resize

# MATLAB's eps, in which the benchmark's code computes.
EPS = torch.finfo(torch.float64).eps


def correlation(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """CC, Pearson's correlation of map and human map over the pixels. In [−1, 1]; undefined where one is flat.

    >>> correlation(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[0.0, 0.5, 1.0]]]))
    tensor([1.])
    """
    map, human, known = _both(map, mask, ignore)
    a, b = (_centred(values, known) for values in (map, human))
    return ((a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()).float()


def similarity(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """SIM, Σ min(P, Q) of map and human map, each scaled to [0, 1] and then to a sum of one. In [0, 1].

    Undefined where one is flat.

    >>> similarity(torch.tensor([[[3.0, 1.0, 0.0]]]), torch.tensor([[[0.5, 0.5, 0.0]]]))
    tensor([0.7500])
    """
    map, human, known = _both(map, mask, ignore)
    return torch.minimum(*(_distribution(_from_zero(values, known)) for values in (map, human))).sum(1).float()


def kl_divergence(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """KL, Σ Q log(ε + Q / (ε + P)) in nats, P the map's positive part and Q the human map, each with a sum of one.

    0 where they agree; a pixel that people look at and the map calls exactly 0 costs up to 36 times its share (ε is
    2.2e-16, as in the benchmark's code). Undefined where one is 0 everywhere.

    >>> kl_divergence(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.5, 0.5]]]))
    tensor([0.1438])
    """
    map, human, known = _both(map, mask, ignore)
    p, q = (_distribution(values.clamp_min(0) * known) for values in (map, human))
    return (q * (EPS + q / (EPS + p)).log()).sum(1).float()


def normalised_scanpath_saliency(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """NSS, the mean over fixations of the map, which is scaled to mean 0 and standard deviation 1.

    0 is chance. A soft human map weighs, which for fixations (0 and 1) is the benchmark's mean. Undefined for a flat
    map and without fixations.

    >>> normalised_scanpath_saliency(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
    tensor([1.])
    """
    map, human, known = _both(map, mask, ignore)
    centred = _centred(map, known)
    deviation = (centred.square().sum(1) / (known.sum(1) - 1)).sqrt()
    return ((centred * human).sum(1) / (human * known).sum(1) / deviation).float()


def auc_judd(
    map: Float[Tensor, "B h w"], mask: Float[Tensor, "B H W"], *, ignore: Ignore = None
) -> Float[Tensor, " B"]:
    """AUC-Judd: area under the ROC curve of the map as a detector of fixated pixels (at least 0.5). 0.5 is chance.

    Thresholds are the map's values at the fixations, between which the curve is straight, as in the benchmark's code.
    That tells ties apart by a random jitter; here they lie on one straight piece, so that a flat map scores 0.5.
    Undefined where no pixel, or every pixel, is fixated, and for a map with a NaN.

    Judd et al., "Learning to Predict Where Humans Look", ICCV 2009.

    >>> auc_judd(torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor([0.8750])
    """
    map, human, known = _both(map, mask, ignore)
    return torch.stack([_auc_judd(*image) for image in zip(map, human >= 0.5, known, strict=True)]).float()


def shuffled_auc(
    map: Float[Tensor, "B h w"],
    mask: Float[Tensor, "B H W"],
    *,
    ignore: Ignore = None,
    others: Float[Tensor, "B H W"] | None = None,
) -> Float[Tensor, " B"]:
    """Shuffled AUC: the map at the image's fixations (at least 0.5) against the map where other images are fixated.

    Probability that a fixation has a higher value than a fixation of another image, equal values counting a half: 0.5
    is chance, for a flat map and for one that says no more than that people look at the centre. It is what the
    benchmark's code gives on average, which draws as many of the others' fixations as there are own ones, a hundred
    times, and steps through thresholds of 0.1. Undefined without own or others' fixations, and for a map with a NaN.

    Zhang et al., "SUN", Journal of Vision 2008.

    Args:
        map: (B, h, w).
        mask: (B, H, W) in [0, 1].
        ignore: (B, H, W) in [0, 1].
        others: (B, H, W) how many other images are fixated at each pixel; None: the other images of the batch.

    >>> fixations = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
    >>> shuffled_auc(torch.tensor([[[3.0, 1.0, 2.0]], [[3.0, 1.0, 2.0]]]), fixations)
    tensor([1., 0.])
    """
    map, human, known = _both(map, mask, ignore)
    fixated = (human >= 0.5) & known
    weight = fixated.sum(0) - fixated.int() if others is None else others.flatten(1)
    return torch.stack(
        [_shuffled_auc(*image) for image in zip(map, fixated, weight * known, known, strict=True)]
    ).float()


def _shuffled_auc(value: Tensor, fixated: Tensor, weight: Tensor, known: Tensor) -> Tensor:
    if not fixated.any() or not weight.any() or value[known].isnan().any():
        return value.new_tensor(torch.nan)
    order = value.argsort()
    total = torch.cat([value.new_zeros(1), weight[order].to(value).cumsum(0)])
    own = value[fixated]
    below, up_to = (total[torch.searchsorted(value[order], own, right=right)] for right in (False, True))
    return ((below + up_to) / 2).mean() / total[-1]


def _auc_judd(value: Tensor, fixated: Bool[Tensor, " pixels"], known: Bool[Tensor, " pixels"]) -> Tensor:
    at_fixation, all_pixels = value[fixated & known].sort().values, value[known].sort().values
    fixations, others = len(at_fixation), len(all_pixels) - len(at_fixation)
    if not fixations or not others or all_pixels.isnan().any():
        return value.new_tensor(torch.nan)
    thresholds = at_fixation.flip(0)
    hits = fixations - torch.searchsorted(at_fixation, thresholds)
    false_alarms = len(all_pixels) - torch.searchsorted(all_pixels, thresholds) - hits
    zero, one = value.new_zeros(1), value.new_ones(1)
    return torch.trapezoid(torch.cat([zero, hits / fixations, one]), torch.cat([zero, false_alarms / others, one]))


def _both(map: Tensor, mask: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor, Bool[Tensor, "B pixels"]]:
    """Map and human map on one grid in double precision, 0 where ignored, and which pixels are not."""
    inside_and_outside(mask, ignore)
    known = torch.ones_like(mask, dtype=torch.bool) if ignore is None else ignore < 0.5
    precise = torch.float32 if map.device.type == "mps" else torch.float64
    resized = torch.where(known, resize(map.to(precise), mask.shape[-2:]), 0)
    human = torch.where(known, mask.to(precise), 0)
    return resized.flatten(1), human.flatten(1), known.flatten(1)


def _centred(values: Tensor, known: Tensor) -> Tensor:
    mean = values.sum(1, keepdim=True) / known.sum(1, keepdim=True)
    centred = torch.where(known, values - mean, 0)
    # What is flat up to rounding has no direction.
    size = values.abs().amax(1, keepdim=True)
    return torch.where(centred.abs().amax(1, keepdim=True) > 1e-12 * size, centred, 0)


def _from_zero(values: Tensor, known: Tensor) -> Tensor:
    low = torch.where(known, values, torch.inf).amin(1, keepdim=True)
    return torch.where(known, values - low, 0)


def _distribution(values: Tensor) -> Tensor:
    return values / values.sum(1, keepdim=True)


def split_half_agreement(
    viewers: Float[Tensor, "B V H W"],
    function: Callable[..., Tensor],
    *,
    splits: int = 10,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " B"]:
    """What one half of the viewers scores as a map of the other half: the ceiling beside what a map scores.

    Viewers are halved at random, `splits` times; the mean map of one half is measured against that of the other, each
    scaled to a largest value of 1. Mean over the splits that are defined, NaN where none is. Half of the viewers are
    worth less than all of them, so that a map may come a little above it.

    Args:
        viewers: (B, V, H, W) in [0, 1], the map or the fixations of each of two or more viewers.
        function: an alignment metric, of map and mask.
        splits: how often they are halved.
        generator: of the halves; None draws the same for every call.

    >>> viewers = torch.tensor([[[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]])
    >>> split_half_agreement(viewers, similarity)
    tensor([1.])
    """
    number = viewers.shape[1]
    if number < 2 or splits < 1:
        raise InputError(f"{number} viewers and splits={splits}; expected at least two viewers and one split.")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    found = []
    for _ in range(splits):
        drawn = torch.randperm(number, generator=generator, device=generator.device).to(viewers.device)
        halves = (viewers[:, part].mean(1) for part in (drawn[: number // 2], drawn[number // 2 :]))
        map, human = (half / half.amax((1, 2), keepdim=True).clamp_min(EPS) for half in halves)
        found.append(function(map, human))
    return torch.stack(found).nanmean(0)


class Correlation(Alignment):
    """Mean of `correlation`."""

    value = staticmethod(correlation)


class Similarity(Alignment):
    """Mean of `similarity`."""

    value = staticmethod(similarity)


class KLDivergence(Alignment):
    """Mean of `kl_divergence`."""

    higher_is_better = False
    plot_upper_bound = None
    value = staticmethod(kl_divergence)


class NormalisedScanpathSaliency(Alignment):
    """Mean of `normalised_scanpath_saliency`."""

    plot_upper_bound = None
    value = staticmethod(normalised_scanpath_saliency)


class AUCJudd(Alignment):
    """Mean of `auc_judd`."""

    value = staticmethod(auc_judd)


class ShuffledAUC(Alignment):
    """Mean of `shuffled_auc`, whose other images are those of the same `update`."""

    value = staticmethod(shuffled_auc)
