"""Methods beside a baseline: for each protocol, model, test split and metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lookright.measures import CONTRAST, FLAT, Measure
from lookright.report.directory import StudyResults
from lookright.report.metric import in_order, measure
from lookright.statistics import Estimate, PairedDifference, holm, mean_interval, paired_difference


@dataclass(frozen=True)
class Score:
    """One method on one metric of one split.

    Attributes:
        name: the method as shown.
        seeds: the seeds that have a value, in order.
        values: their values.
        mean: mean over these seeds with its interval.
        difference: to the baseline over the common seeds; None for the baseline itself.
        holm: p-value of the difference, corrected for the number of methods compared with the baseline.
        comparisons: that number.
    """

    name: str
    seeds: list[int]
    values: list[float]
    mean: Estimate
    difference: PairedDifference | None = None
    holm: float = np.nan
    comparisons: int = 0

    @property
    def is_clear(self) -> bool:
        """Whether the difference to the baseline is significant at 5 % after the correction."""
        return bool(self.holm < 0.05)


@dataclass(frozen=True)
class Section:
    """One protocol and model of a study: what can be compared with each other.

    Attributes:
        protocol: as in results.csv.
        model: as in results.csv.
        results: the rows.
        names: the methods as shown, in the order of the results, the baseline first.
        baseline: the first of `names`: ERM, or the first method where there is no ERM.
        splits: test splits in the order of the results.
        metrics: columns with a value, in the order of the table of metrics.
        missing: (name, seed, split) that the study plans, or another method has, and that have no row.
        own_measures: rows of the user's own, by column.
    """

    protocol: str
    model: str
    results: pd.DataFrame
    names: list[str]
    baseline: str
    splits: list[str]
    metrics: list[str]
    missing: list[tuple[str, int, str]]
    own_measures: Mapping[str, Measure] = field(default_factory=dict)

    def measure(self, column: str) -> Measure:
        """What a column means."""
        return measure(column, self.own_measures)

    def scores(self, split: str, metric: str) -> list[Score]:
        """All methods that have a value of the metric on the split, the baseline first."""
        rows = self.results[(self.results["split"] == split) & self.results[metric].notna()]
        series = {
            name: rows[rows["name"] == name].set_index("seed")[metric].sort_index()
            for name in self.names
            if (rows["name"] == name).any()
        }
        means = {name: mean_interval(values) for name, values in series.items()}
        differences = {}
        if self.baseline in series:
            for name in series.keys() - {self.baseline}:
                both = pd.concat([series[name], series[self.baseline]], axis=1, join="inner")
                differences[name] = paired_difference(both.iloc[:, 0], both.iloc[:, 1])
        compared = [name for name in series if name in differences and not np.isnan(differences[name].p_value)]
        corrected = dict(zip(compared, holm([differences[name].p_value for name in compared]), strict=True))
        return [
            Score(
                name,
                values.index.tolist(),
                values.tolist(),
                means[name],
                differences.get(name),
                float(corrected.get(name, np.nan)),
                len(compared),
            )
            for name, values in series.items()
        ]

    def floor(self, split: str, metric: str, of: str = FLAT) -> float:
        """What a flat (or `RANDOM`) map scores on the split, over its runs; NaN where that is not known."""
        column = of + metric.removeprefix(CONTRAST)
        if column not in self.results:
            return np.nan
        return float(self.results.loc[self.results["split"] == split, column].mean())

    def smallest_group(self, split: str) -> float:
        """How many images the smallest group of the split has, over its runs; infinite where that is not known."""
        if "smallest_group" not in self.results:
            return np.inf
        sizes = self.results.loc[self.results["split"] == split, "smallest_group"].dropna()
        return float(sizes.min()) if len(sizes) else np.inf

    def metrics_of(self, split: str) -> list[str]:
        """The metrics that have a value on the split."""
        rows = self.results[self.results["split"] == split]
        return [metric for metric in self.metrics if rows[metric].notna().any()]

    def seeds(self, name: str, split: str) -> list[int]:
        """The seeds of a method's runs on the split, in order."""
        rows = self.results[(self.results["name"] == name) & (self.results["split"] == split)]
        return sorted(rows["seed"].tolist())

    def headline_split(self) -> str:
        """The split that the summary is about: conflicting pairs, else where the baseline is least accurate."""
        for split in self.splits:
            if "conflict" in split:
                return split
        if "accuracy" not in self.metrics:
            return self.splits[0]
        baseline = self.results[self.results["name"] == self.baseline]
        accuracy = baseline.groupby("split", sort=False)["accuracy"].mean().dropna()
        return self.splits[0] if accuracy.empty else str(accuracy.idxmin())


def sections(study: StudyResults) -> list[Section]:
    """One section per protocol and model, in the order of the results."""
    found = []
    for (protocol, model), rows in study.results.groupby(["protocol", "model"], sort=False):
        names = list(dict.fromkeys([*rows["name"], *map(str, study.planned["methods"])]))
        plain = rows.loc[rows["method"] == "ERM", "name"]
        baseline = names[0] if plain.empty else plain.iloc[0]
        names.sort(key=lambda name: name != baseline)
        splits = rows["split"].unique().tolist()
        have = set(zip(rows["name"], rows["seed"], rows["split"], strict=True))
        seeds = sorted({*rows["seed"], *(seed for seed in study.planned["seeds"] if isinstance(seed, int))})
        # A split belongs to every run of the protocol, a seed to every method.
        missing = [
            (name, seed, split)
            for name in names
            for seed in seeds
            for split in splits
            if (name, seed, split) not in have
        ]
        metrics = in_order([metric for metric in study.metrics if rows[metric].notna().any()])
        found.append(
            Section(str(protocol), str(model), rows, names, baseline, splits, metrics, missing, study.measures)
        )
    return found
