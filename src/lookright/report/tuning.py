"""What tuning gave: the candidate of each method that validation chooses, beside the first one, on every test split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from lookright.report.comparison import Score, Section, sections
from lookright.report.directory import StudyResults
from lookright.report.selection import CELL, highest
from lookright.statistics import Estimate, PairedDifference, mean_interval, paired_difference

RULE = (
    "Of the candidates of a method, the one with the highest accuracy on the validation images is taken, among equals "
    "the first, anew for every protocol, model and seed. Test images have no part in the choice. The first candidate "
    "of a search has the study's own settings."
)


@dataclass(frozen=True)
class TunedMethod:
    """What tuning gave a method on a test split, in accuracy.

    Attributes:
        tuned: the chosen candidates, beside the baseline's.
        first: the method's first candidate.
        gain: the chosen ones minus the first, over the same seeds.
        lowest: of all candidates and seeds.
        highest: of all candidates and seeds.
    """

    tuned: Score
    first: Estimate
    gain: PairedDifference
    lowest: float
    highest: float


@dataclass(frozen=True)
class Tuning:
    """What tuning gave on a test split.

    Attributes:
        title: protocol and model, as far as the study names them, and split.
        baseline: the method that the others are compared with.
        methods: in the order of the study, the baseline first.
    """

    title: str
    baseline: str
    methods: list[TunedMethod]


@dataclass(frozen=True)
class Candidate:
    """A candidate of a protocol and model.

    Attributes:
        title: protocol and model, as far as the study names them.
        name: the method's and its own.
        drawn: its settings in words; empty for the study's own.
        validation: accuracy on the validation images.
        accuracy: by test split.
        chosen: by how many seeds, of how many.
    """

    title: str
    name: str
    drawn: str
    validation: Estimate
    accuracy: Mapping[str, Estimate]
    chosen: str


def chosen_runs(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of results.csv that belong to the candidates which `RULE` takes.

    A method whose candidates are not all validated (yet) has none in that protocol, model and seed.

    Args:
        results: of a study with candidates, one row per run and test split.
    """
    best = highest(results.drop_duplicates([*CELL, "name"]), "val_accuracy")
    return results.merge(best[[*CELL, "name"]], how="inner")


def tuned_study(study: StudyResults) -> StudyResults | None:
    """The study as if each method's chosen candidates were all its runs; None where nothing can be chosen (yet)."""
    if "candidate_of" not in study.results:
        return None
    rows = chosen_runs(study.results)
    if rows.empty:
        return None
    return replace(
        study,
        results=rows.assign(name=rows["candidate_of"]),
        planned={**study.planned, "methods": study.planned["candidate_of"]},
    )


def tunings(study: StudyResults) -> list[Tuning]:
    """A table for every protocol, model and test split with an accuracy; none where nothing can be chosen (yet)."""
    tuned = tuned_study(study)
    if tuned is None:
        return []
    return [
        Tuning(" · ".join(filter(None, (section.protocol, section.model, split))), section.baseline, methods)
        for section in sections(tuned)
        for split in sorted(section.splits, key=lambda split: split != section.headline_split())
        if (methods := _methods(study.results, section, split))
    ]


def candidates(study: StudyResults) -> list[Candidate]:
    """Every candidate, in the order of the study; none where nothing can be chosen (yet)."""
    if tuned_study(study) is None:
        return []
    chosen = chosen_runs(study.results).drop_duplicates([*CELL, "name"]).groupby(["protocol", "model", "name"]).size()
    return [
        Candidate(
            title=" · ".join(filter(None, (str(protocol), str(model)))),
            name=str(name),
            drawn=str(rows["drawn"].iloc[0]) if "drawn" in rows else "",
            validation=mean_interval(rows.drop_duplicates("seed")["val_accuracy"]),
            accuracy={str(split): mean_interval(part["accuracy"]) for split, part in rows.groupby("split", sort=False)},
            chosen=f"{chosen.get((protocol, model, name), 0)} of {rows['seed'].nunique()}",
        )
        for (protocol, model), part in study.results.groupby(["protocol", "model"], sort=False)
        for name, rows in part.groupby("name", sort=False)
    ]


def _methods(results: pd.DataFrame, section: Section, split: str) -> list[TunedMethod]:
    if "accuracy" not in section.metrics_of(split):
        return []
    of_section = (results["protocol"] == section.protocol) & (results["model"] == section.model)
    rows = results[of_section & (results["split"] == split)]
    found = []
    for score in section.scores(split, "accuracy"):
        own = rows[(rows["candidate_of"] == score.name) & rows["seed"].isin(score.seeds)]
        first = own[own["name"] == own["name"].iloc[0]].set_index("seed")["accuracy"].reindex(score.seeds)
        found.append(
            TunedMethod(
                score,
                mean_interval(first),
                paired_difference(score.values, first),
                float(own["accuracy"].min()),
                float(own["accuracy"].max()),
            )
        )
    return found
