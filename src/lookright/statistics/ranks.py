"""Over data sets, or seeds: which methods are told apart by their ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class CriticalDifferences:
    """What a critical-difference diagram shows.

    Attributes:
        names: methods, the best mean rank first.
        ranks: their mean ranks, in the same order; 1 is the best.
        difference: mean ranks that are further apart differ significantly.
        groups: first and last place of each longest run of two or more methods that are not told apart.
        p_value: of Friedman's test that all methods have the same ranks.
        count: number of data sets.
    """

    names: list[str]
    ranks: list[float]
    difference: float
    groups: list[tuple[int, int]]
    p_value: float
    count: int


def critical_differences(
    scores: ArrayLike, names: Sequence[str], *, higher_is_better: bool = True, level: float = 0.05
) -> CriticalDifferences:
    """Mean ranks, and by how much they must differ: Friedman's test and Nemenyi's critical difference.

    CD = q √(k (k + 1) / 6N) of k methods on N data sets, q the studentized range's quantile over √2 (Demšar 2006). A
    data set with a NaN is left out; equal scores share their ranks.

    Args:
        scores: (data sets, methods), such as accuracies; seeds of one data set may stand in for data sets.
        names: of the methods.
        higher_is_better: whether rank 1 is the highest score.
        level: of significance.

    Raises:
        ValueError: fewer than three methods (a paired test compares two), names that do not fit, or no data sets.

    >>> found = critical_differences([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.7, 0.8]], ["A", "B", "C"])
    >>> found.names, [round(rank, 2) for rank in found.ranks], round(found.difference, 2), found.groups
    (['A', 'B', 'C'], [1.0, 2.33, 2.67], 1.91, [(0, 2)])
    """
    matrix = np.asarray(scores, dtype=float)
    if matrix.ndim != 2 or matrix.shape[1] != len(names) or len(names) < 3:
        raise ValueError(
            f"scores of shape {matrix.shape} and {len(names)} names; "
            "expected (data sets, methods) and three names or more"
        )
    matrix = matrix[~np.isnan(matrix).any(axis=1)]
    sets, methods = matrix.shape
    if sets < 2:
        raise ValueError(f"{sets} data sets that all methods have; expected two or more")
    ranks = stats.rankdata(-matrix if higher_is_better else matrix, axis=1).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    quantile = stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    difference = float(quantile * np.sqrt(methods * (methods + 1) / (6 * sets)))
    runs: list[tuple[int, int]] = []
    for first in range(methods):
        last = int(np.flatnonzero(ordered - ordered[first] <= difference)[-1])
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    # All equal: the statistic divides by zero.
    p_value = 1.0 if np.ptp(ranks) == 0 else float(stats.friedmanchisquare(*matrix.T).pvalue)
    return CriticalDifferences([names[place] for place in order], ordered.tolist(), difference, runs, p_value, sets)
