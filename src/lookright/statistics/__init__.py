"""How sure the numbers are: intervals over seeds, paired tests against a baseline, bootstraps over runs and images.

Every function drops what is undefined (NaN), answers NaN where the data cannot say (one run; runs that do not differ at
all), and gives the same numbers for the same seed.
"""

from lookright.statistics.aggregates import (
    AGGREGATES,
    aggregate,
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from lookright.statistics.images import hierarchical_bootstrap, image_bootstrap
from lookright.statistics.paired import (
    Estimate,
    PairedDifference,
    equivalence_p_value,
    fewest_pairs,
    holm,
    mean_interval,
    paired_difference,
    permutation_p_value,
)
from lookright.statistics.ranks import CriticalDifferences, critical_differences

__all__ = [
    "AGGREGATES",
    "CriticalDifferences",
    "Estimate",
    "PairedDifference",
    "aggregate",
    "critical_differences",
    "equivalence_p_value",
    "fewest_pairs",
    "hierarchical_bootstrap",
    "holm",
    "image_bootstrap",
    "interquartile_mean",
    "mean_interval",
    "mean_score",
    "median_score",
    "optimality_gap",
    "paired_difference",
    "performance_profile",
    "permutation_p_value",
    "probability_of_improvement",
]
