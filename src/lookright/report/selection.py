"""DomainBed's model selection: which candidate of a method a study chooses, and how accurate that one is."""

from dataclasses import dataclass

import pandas as pd

from lookright.statistics import Estimate, mean_interval

RULES = {
    "training-domain validation": ("val_accuracy", "accuracy"),
    "leave-one-domain-out cross-validation": ("cross_validation_accuracy", "accuracy"),
    "test-domain validation (oracle)": ("oracle_accuracy", "last_step_accuracy"),
}
"""By the rule's name, the columns of results.csv: what it chooses by, and what is reported of the chosen one."""

CELL = ["protocol", "model", "candidate_of", "seed"]
"""What makes a choice of its own."""

CAPTION = (
    "Accuracy out of distribution of the candidate that each rule chooses, anew for every protocol and seed. The "
    "oracle looks at the domain that is tested: it bounds what selection could give, and is no result."
)


@dataclass(frozen=True)
class SelectedMethod:
    """What a rule makes of a method.

    Attributes:
        name: the method's.
        accuracies: of the chosen candidates, for each protocol, and last the mean over protocols.
        chosen: for each protocol the names of the chosen candidates, with how many seeds chose them.
    """

    name: str
    accuracies: list[Estimate]
    chosen: list[str]


@dataclass(frozen=True)
class Selection:
    """A rule applied to a study, for one model.

    Attributes:
        title: the rule's name, and the model's where the study names one.
        protocols: their names.
        methods: in the order of the study.
    """

    title: str
    protocols: list[str]
    methods: list[SelectedMethod]


def select_candidates(results: pd.DataFrame, split: str = "out_of_distribution") -> pd.DataFrame:
    """Choose a candidate of each method by each of the three rules of Gulrajani & Lopez-Paz, ICLR 2021, section 3.

    A rule takes the candidate with the highest accuracy on what it may look at, among equals the first; protocols,
    models and seeds choose for themselves. Where any candidate has no such accuracy (yet), the rule chooses none.

    Args:
        results: of a study with candidates, one row per run and test split, as in its results.csv.
        split: what the accuracy is reported on.

    Returns:
        One row per rule, protocol, model, method and seed: `rule`, `protocol`, `model`, `candidate_of` (the method),
        `seed`, `name` (the chosen candidate), `selected_by` (the accuracy that it was chosen for) and `accuracy`.
    """
    rows = results[results["split"] == split]
    chosen = []
    for rule, (criterion, reported) in RULES.items():
        best = highest(rows, criterion)
        best = best.assign(rule=rule, selected_by=best[criterion], accuracy=best[reported])
        chosen.append(best[["rule", *CELL, "name", "selected_by", "accuracy"]])
    return pd.concat(chosen, ignore_index=True)


def highest(runs: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """The run of each cell that is highest, among equals the first; none where a candidate has no such number (yet).

    Args:
        runs: of a study with candidates, one row per run.
        criterion: the column to choose by.
    """
    measured = runs.groupby(CELL, dropna=False)[criterion].transform("count")
    complete = runs[measured == runs["candidates"]]
    return complete.sort_values(criterion, ascending=False, kind="stable").drop_duplicates(CELL).sort_index()


def mean_over_protocols(chosen: pd.DataFrame) -> pd.DataFrame:
    """The mean over protocols, each of which holds a domain out, of the accuracies that `select_candidates` gives.

    Returns:
        One row per rule, model, method and seed: `rule`, `model`, `candidate_of`, `seed` and `accuracy`, which is NaN
        where a protocol is missing.
    """
    table = chosen.pivot(index=["rule", "model", "candidate_of", "seed"], columns="protocol", values="accuracy")
    return table.mean(axis=1, skipna=False).reset_index(name="accuracy")


def selections(results: pd.DataFrame) -> list[Selection]:
    """Every rule, model by model, that has chosen something; none for a study without candidates."""
    if "candidate_of" not in results:
        return []
    chosen = select_candidates(results)
    means = mean_over_protocols(chosen)
    found = []
    for (rule, model), rows in chosen.groupby(["rule", "model"], sort=False):
        mean = means[(means["rule"] == rule) & (means["model"] == model)]
        protocols = rows["protocol"].unique().tolist()
        methods = []
        for method, own in rows.groupby("candidate_of", sort=False):
            parts = [own[own["protocol"] == protocol] for protocol in protocols]
            overall = mean.loc[mean["candidate_of"] == method, "accuracy"]
            accuracies = [*(mean_interval(part["accuracy"]) for part in parts), mean_interval(overall)]
            methods.append(SelectedMethod(str(method), accuracies, [_counts(part["name"]) for part in parts]))
        found.append(Selection(" · ".join(part for part in (str(rule), str(model)) if part), protocols, methods))
    return found


def _counts(names: pd.Series) -> str:
    return ", ".join(f"{name} ({count})" for name, count in names.value_counts(sort=False).items()) or "–"
