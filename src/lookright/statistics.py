"""How sure the numbers are: intervals over seeds, paired tests against a baseline, bootstraps over runs and images.

Every function drops what is undefined (NaN), answers NaN where the data cannot say (one run; runs that do not differ at
all), and gives the same numbers for the same seed.
"""

from collections.abc import Callable, Sequence
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


def _environments(scores: ArrayLike) -> tuple[np.ndarray, ...]:
    """The columns of a (runs, environments) matrix, each without its missing runs."""
    matrix = np.asarray(scores, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"scores of shape {matrix.shape}; expected (runs, environments)")
    columns = tuple(column[~np.isnan(column)] for column in matrix.T)
    if not all(len(column) for column in columns):
        raise ValueError("an environment without any run; leave its column out")
    return columns


def _stratified_bootstrap(
    columns: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], replicates: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of `statistic(*columns, axis)`, resampling the runs within each column."""
    value = np.asarray(statistic(*columns, axis=-1))
    if min(len(column) for column in columns) < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    interval = stats.bootstrap(
        columns,
        statistic,
        n_resamples=replicates,
        batch=1000,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def interquartile_mean(*environments: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half of all runs of all environments (a 25 % trimmed mean)."""
    return np.asarray(stats.trim_mean(np.concatenate(environments, axis=axis), 0.25, axis=axis))


def mean_score(*environments: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over environments of each environment's mean over runs."""
    return np.asarray(np.mean([runs.mean(axis=axis) for runs in environments], axis=0))


def median_score(*environments: np.ndarray, axis: int = -1) -> np.ndarray:
    """Median over environments of each environment's mean over runs."""
    return np.asarray(np.median([runs.mean(axis=axis) for runs in environments], axis=0))


def optimality_gap(*environments: np.ndarray, axis: int = -1, optimum: float = 1.0) -> np.ndarray:
    """How far the runs stay below the optimum on average; what exceeds it does not make up for it."""
    return np.asarray(optimum - np.minimum(np.concatenate(environments, axis=axis), optimum).mean(axis=axis))


AGGREGATES: dict[str, Callable[..., np.ndarray]] = {
    "iqm": interquartile_mean,
    "median": median_score,
    "mean": mean_score,
    "optimality_gap": optimality_gap,
}


def aggregate(
    scores: ArrayLike, *, replicates: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """IQM, median, mean and optimality gap over environments × runs with stratified bootstrap intervals.

    The definitions of Agarwal et al. 2021 (*Deep Reinforcement Learning at the Edge of the Statistical Precipice*),
    as in their library rliable: runs are resampled within each environment, intervals are percentiles.

    Args:
        scores: (runs, environments), normalised so that 1 is the optimum; NaN: this run is missing.
        replicates: number of bootstrap replicates.
        confidence: coverage of the intervals.
        seed: seed of the resampling.

    Returns:
        One `Estimate` per name in `AGGREGATES`; its interval is NaN where an environment has fewer than two runs.

    Raises:
        ValueError: where scores are not a matrix, or a column is all NaN.
    """
    columns = _environments(scores)
    count = sum(len(column) for column in columns)
    estimates = {}
    for name, statistic in AGGREGATES.items():
        low, high = _stratified_bootstrap(columns, statistic, replicates, confidence, seed)
        estimates[name] = Estimate(float(statistic(*columns)), float(low), float(high), count)
    return estimates


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of runs (of all environments) whose score exceeds each threshold, with pointwise bootstrap intervals.

    The run-score distribution of Agarwal et al. 2021, section 4.2.

    Args:
        scores: (runs, environments); NaN: this run is missing.
        thresholds: (T,) scores τ.
        replicates: number of bootstrap replicates.
        confidence: coverage of the pointwise intervals.
        seed: seed of the resampling.

    Returns:
        Profile, lower end and upper end, each (T,).

    Raises:
        ValueError: where scores are not a matrix, or a column is all NaN.
    """
    columns = _environments(scores)
    levels = np.asarray(thresholds, dtype=float)

    def share_above(*environments: np.ndarray, axis: int = -1) -> np.ndarray:
        runs = np.concatenate(environments, axis=axis)
        return np.stack([(runs > level).mean(axis=axis) for level in levels])

    low, high = _stratified_bootstrap(columns, share_above, replicates, confidence, seed)
    return share_above(*columns), low, high


def probability_of_improvement(
    scores: ArrayLike,
    baseline: ArrayLike,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """P(a run of the method beats a run of the baseline), averaged over environments; a tie counts a half.

    Mann-Whitney's U / (n·m) per environment, as in Agarwal et al. 2021, section 4.3; both sides are resampled.

    Args:
        scores: (runs, environments) of the method; NaN: this run is missing.
        baseline: (runs, environments) of the baseline, the same environments; the number of runs may differ.
        replicates: number of bootstrap replicates.
        confidence: coverage of the interval.
        seed: seed of the resampling.

    Raises:
        ValueError: where the environments differ in number, or a column is all NaN.
    """
    columns, baseline_columns = _environments(scores), _environments(baseline)
    if len(columns) != len(baseline_columns):
        raise ValueError(f"{len(columns)} environments against {len(baseline_columns)}; expected the same ones")
    number = len(columns)

    def probability(*environments: np.ndarray, axis: int = -1) -> np.ndarray:
        per_environment = []
        for ours, theirs in zip(environments[:number], environments[number:], strict=True):
            gap = ours[..., :, None] - theirs[..., None, :]
            per_environment.append(((gap > 0) + 0.5 * (gap == 0)).mean(axis=(-2, -1)))
        return np.asarray(np.mean(per_environment, axis=0))

    both = columns + baseline_columns
    low, high = _stratified_bootstrap(both, probability, replicates, confidence, seed)
    return Estimate(float(probability(*both)), float(low), float(high), sum(len(column) for column in columns))


def image_bootstrap(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean paired difference over test images with its percentile bootstrap interval, clustered by seed.

    All seeds are tested on the same images, so seeds and images are crossed: a replicate draws seeds and, apart from
    that, images, and keeps each pair (method and baseline, same seed and image) together (Owen 2007, the pigeonhole
    bootstrap). With one seed only images are drawn: the interval then says how sure the difference between *these two
    trained models* is, not what training once more would give.

    Args:
        values: (seeds, images) the method's score of each image, such as 0/1 for wrong/right; NaN is left out.
        baseline: (seeds, images) the baseline's, in the same order.
        replicates: number of bootstrap replicates.
        confidence: coverage of the interval.
        seed: seed of the resampling.

    Returns:
        Mean difference over all pairs; `count` is the number of images with a pair.

    Raises:
        ValueError: where the two are not matrices of the same shape.
    """
    ours, theirs = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if ours.ndim != 2 or ours.shape != theirs.shape:
        raise ValueError(f"scores of {ours.shape} against {theirs.shape}; expected (seeds, images) twice")
    difference = ours - theirs
    defined = ~np.isnan(difference)
    count = int(defined.any(axis=0).sum())
    if count == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    total = np.where(defined, difference, 0.0)
    value = float(total.sum() / defined.sum())
    if count < 2:
        return Estimate(value, np.nan, np.nan, count)
    seeds, images = difference.shape
    generator = np.random.default_rng(seed)
    means = np.full(replicates, np.nan)
    for replicate in range(replicates):
        seed_weight = np.bincount(generator.integers(seeds, size=seeds), minlength=seeds)
        image_weight = np.bincount(generator.integers(images, size=images), minlength=images)
        pairs = seed_weight @ defined @ image_weight
        if pairs:
            means[replicate] = seed_weight @ total @ image_weight / pairs
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)
