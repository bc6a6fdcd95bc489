"""Over seeds: means with intervals, a method against its baseline, and how many seeds it takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; `count` is the number of independent observations behind it."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class PairedDifference:
    """A method minus its baseline over the seeds that both have.

    Attributes:
        value: mean difference.
        low: lower end of the t interval of the mean difference.
        high: upper end.
        p_value: two-sided paired t-test of a mean difference of zero.
        effect_size: Cohen's d_z (mean / standard deviation of the differences) with Hedges' correction for few pairs.
        count: number of pairs.
    """

    value: float
    low: float
    high: float
    p_value: float
    effect_size: float
    count: int


def _without_spread(values: np.ndarray, scale: float) -> bool:
    """Whether the values are equal up to rounding: a t statistic would then divide by rounding errors."""
    return len(values) < 2 or float(np.ptp(values)) <= 1e-12 * scale


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean over seeds with the t interval.

    Args:
        values: (seeds,) one number per seed; NaN is dropped.
        confidence: coverage of the interval.

    Returns:
        The mean; the interval is NaN for fewer than two values and for values without spread.

    >>> estimate = mean_interval([0.80, 0.82, 0.84])
    >>> print(f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]")
    0.82 [0.77, 0.87]
    """
    defined = np.asarray(values, dtype=float)
    defined = defined[~np.isnan(defined)]
    count = len(defined)
    if count == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean = float(defined.mean())
    if _without_spread(defined, float(np.abs(defined).max())):
        return Estimate(mean, np.nan, np.nan, count)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1) * stats.sem(defined))
    return Estimate(mean, mean - half, mean + half, count)


def paired_difference(values: ArrayLike, baseline: ArrayLike, confidence: float = 0.95) -> PairedDifference:
    """Difference to a baseline over the same seeds: mean, t interval, paired t-test and effect size.

    Args:
        values: (seeds,) the method's numbers.
        baseline: (seeds,) the baseline's, in the same order of seeds. A pair with a NaN on either side is dropped.
        confidence: coverage of the interval.

    Returns:
        The mean difference. Interval, p-value and effect size are NaN for fewer than two pairs and for differences
        without spread; the effect size also for two pairs, where Hedges' correction leaves nothing.

    Raises:
        ValueError: where the two differ in length.

    Hedges' correction is exact: J(m) = Γ(m/2) / (√(m/2) Γ((m-1)/2)) with m = pairs - 1 (Hedges 1981, equation 6e).

    >>> difference = paired_difference([0.82, 0.80, 0.85], [0.74, 0.75, 0.74])
    >>> print(f"{difference.value:.2f} [{difference.low:.2f}, {difference.high:.2f}], p = {difference.p_value:.3f}")
    0.08 [0.01, 0.15], p = 0.044
    """
    ours, theirs = _pairs(values, baseline)
    count = len(ours)
    if count == 0:
        return PairedDifference(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    difference = ours - theirs
    mean = float(difference.mean())
    if _without_spread(difference, float(np.abs([ours, theirs]).max())):
        return PairedDifference(mean, np.nan, np.nan, np.nan, np.nan, count)
    test = stats.ttest_rel(ours, theirs)
    low, high = test.confidence_interval(confidence)
    effect_size = np.nan
    if count > 2:
        half = (count - 1) / 2
        correction = np.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / np.sqrt(half)
        effect_size = correction * mean / difference.std(ddof=1)
    return PairedDifference(mean, float(low), float(high), float(test.pvalue), float(effect_size), count)


def permutation_p_value(values: ArrayLike, baseline: ArrayLike, *, permutations: int = 100_000, seed: int = 0) -> float:
    """Two-sided paired permutation test of a mean difference of zero: signs of the differences are swapped.

    It assumes nothing of how the differences are distributed. Exact where there are at most `permutations` ways to swap
    (16 pairs); a random draw of them beyond. With few pairs it cannot be small, see `fewest_pairs`.

    Args:
        values: (seeds,) the method's numbers.
        baseline: (seeds,) the baseline's, in the same order. A pair with a NaN on either side is dropped.
        permutations: how many at most.
        seed: seed of the draw.

    Returns:
        The p-value; NaN for fewer than two pairs and for differences without spread.

    >>> permutation_p_value([0.82, 0.80, 0.85, 0.83, 0.84], [0.74, 0.75, 0.74, 0.76, 0.77])
    0.0625
    """
    ours, theirs = _pairs(values, baseline)
    if _without_spread(ours - theirs, float(np.abs([ours, theirs]).max(initial=0))):
        return np.nan
    return float(
        stats.permutation_test(
            (ours, theirs),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=permutations,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def fewest_pairs(level: float = 0.05) -> int:
    """The smallest number of pairs with which a permutation or rank test can reach the level: 2 / 2ⁿ ≤ level.

    >>> fewest_pairs(0.05), fewest_pairs(0.0625)
    (6, 5)
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level}; expected one between 0 and 1")
    pairs = 1
    while 2.0 ** (1 - pairs) > level:
        pairs += 1
    return pairs


def equivalence_p_value(values: ArrayLike, baseline: ArrayLike, margin: float) -> float:
    """P-value of the claim that the mean difference is smaller than `margin`, whatever its sign.

    Two one-sided paired t-tests (Schuirmann 1987), the larger p-value of the two. A difference that is not significant
    is not shown to be small; this shows it.

    Args:
        values: (seeds,) the method's numbers.
        baseline: (seeds,) the baseline's, in the same order. A pair with a NaN on either side is dropped.
        margin: the difference of interest, above 0, such as 0.02 for two points.

    Returns:
        The p-value; NaN for fewer than two pairs and for differences without spread.

    Raises:
        ValueError: a margin of 0 or less, or lengths that differ.

    >>> round(equivalence_p_value([0.752, 0.748, 0.751, 0.749], [0.75, 0.75, 0.75, 0.75], margin=0.02), 4)
    0.0001
    """
    if not margin > 0:
        raise ValueError(f"margin {margin}; expected more than 0")
    ours, theirs = _pairs(values, baseline)
    difference = ours - theirs
    if _without_spread(difference, float(np.abs([ours, theirs]).max(initial=0))):
        return np.nan
    above = stats.ttest_1samp(difference, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(difference, margin, alternative="less").pvalue
    return float(max(above, below))


def _pairs(values: ArrayLike, baseline: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the pairs in which neither is NaN."""
    ours, theirs = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if ours.shape != theirs.shape:
        raise ValueError(f"paired values: {ours.shape} against {theirs.shape}; expected one pair per seed")
    both = ~(np.isnan(ours) | np.isnan(theirs))
    return ours[both], theirs[both]


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction over the comparisons of one family (Holm 1979).

    Args:
        p_values: (comparisons,); NaN stays NaN and does not count as a comparison.

    Returns:
        (comparisons,) adjusted p-values, at most 1.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=float)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]
    adjusted = np.full_like(raw, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1)))
    return adjusted
