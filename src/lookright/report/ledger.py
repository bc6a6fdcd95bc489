"""What a study cost: runs, compute and time of each method."""

import math
from dataclasses import dataclass

from lookright.report.directory import StudyResults
from lookright.run_directory import read_json

CAPTION = (
    "Every finished run of the study, chosen or not. Compute is in epochs of plain "
    "training, counted where runs have a budget. Time is that of training alone, since a run last went on."
)


@dataclass(frozen=True)
class Entry:
    """What a method cost.

    Attributes:
        method: its name, or `all`.
        runs: that are finished.
        compute: in epochs of plain training; NaN where a run did not count it.
        seconds: of training; NaN where a run does not tell.
    """

    method: str
    runs: int
    compute: float
    seconds: float


def ledger(study: StudyResults) -> list[Entry]:
    """An entry for each method and, where there are several, their sum; none where no run tells what it cost."""
    results = study.results
    methods = dict(zip(results["name"], results.get("candidate_of", results["name"]), strict=True))
    costs: dict[str, list[tuple[float, float]]] = {}
    for path in sorted((study.directory / "runs").rglob("result.json")):
        run = read_json(path)
        name = str(run.get("name", ""))
        spent = (_number(run.get("compute")), _number(run.get("train_seconds")))
        costs.setdefault(str(methods.get(name) or name), []).append(spent)
    in_order = [method for method in dict.fromkeys([*map(str, methods.values()), *costs]) if method in costs]
    entries = [_entry(method, costs[method]) for method in in_order]
    if all(math.isnan(entry.seconds) and math.isnan(entry.compute) for entry in entries):
        return []
    return entries if len(entries) < 2 else [*entries, _entry("all", [cost for own in costs.values() for cost in own])]


def _entry(method: str, costs: list[tuple[float, float]]) -> Entry:
    compute, seconds = map(sum, zip(*costs, strict=True))
    return Entry(method, len(costs), compute, seconds)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
