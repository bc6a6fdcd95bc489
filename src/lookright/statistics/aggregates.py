"""Over runs of several environments, as rliable has it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lookright.statistics.paired import Estimate


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
    scores: ArrayLike,
    *,
    names: Sequence[str] = tuple(AGGREGATES),
    replicates: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """IQM, median, mean and optimality gap over environments × runs with stratified bootstrap intervals.

    The definitions of Agarwal et al. 2021 (*Deep Reinforcement Learning at the Edge of the Statistical Precipice*),
    as in their library rliable: runs are resampled within each environment, intervals are percentiles.

    Args:
        scores: (runs, environments), normalised so that 1 is the optimum; NaN: this run is missing.
        names: of `AGGREGATES`, those that are wanted.
        replicates: number of bootstrap replicates.
        confidence: coverage of the intervals.
        seed: seed of the resampling.

    Returns:
        One `Estimate` per name; its interval is NaN where an environment has fewer than two runs.

    Raises:
        ValueError: where scores are not a matrix, or a column is all NaN.
    """
    columns = _environments(scores)
    count = sum(len(column) for column in columns)
    estimates = {}
    for name in names:
        statistic = AGGREGATES[name]
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
