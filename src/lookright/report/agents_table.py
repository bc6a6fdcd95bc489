"""Every figure of a study of agents, a line for each method and measure: what its page is a digest of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lookright import statistics
from lookright.errors import InputError
from lookright.measures import LOGIT, MEASURES, Measure, measures_of, of_contrast, of_logit
from lookright.report.results_table import as_written, better
from lookright.rl.agent_study import collect_results, read_agent_study
from lookright.trust import require_trusted
from lookright.yaml_file import read_yaml

NORMALISED = "normalised_"
"""Before the name of a return's column: the same on the scale of the score."""

RETURN = "Return"
"""The title of the measures that are normalised."""

ALL = "all scenarios"
"""In place of a scenario's name."""

GAIN = replace(
    MEASURES["insertion"],
    name="insertion_minus_deletion",
    label="Insertion − deletion",
    sentence="Mean probability of the target while pixels are revealed minus that while they are removed.",
)
"""What the order of the pixels is worth; a constant that is added to all logits leaves it as it is."""

MASK_SHARE = Measure(
    "mask_share", "Mask's share of the frame", None, "What a flat map scores as energy in mask.", "alignment"
)
WITHOUT_MAP = Measure(
    *("frames_without_map", "Frames without a map", None),
    "Share of the frames that show a target whose map has nothing positive.",
    "alignment",
)
ESTIMATE = ("value", "low", "high")
IMPROVEMENT = ("improvement", "improvement_low", "improvement_high")
COLUMNS = ("study", "scenario", "seeds", "method", "measure", "better", "statistic", *ESTIMATE, *IMPROVEMENT)


@dataclass(frozen=True)
class AgentResults:
    """The agents of a study that can be compared.

    Attributes:
        directory: of the study.
        names: of its methods; the first is the baseline.
        planned: how many agents it will have.
        table: one row per agent, those of the scenarios and seeds where every method has one.
    """

    directory: Path
    names: list[str]
    planned: int
    table: pd.DataFrame


def read_agents(directory: Path) -> AgentResults:
    """What a study, which may be unfinished, has found.

    Raises:
        InputError: no study of agents, none of its scenarios and seeds is finished, or its agents were evaluated on
            different numbers of episodes.
    """
    if not (directory / "random.json").is_file():
        raise InputError(f"No results of agents in {str(directory)!r}. Expected the directory of lookright rl study.")
    require_trusted(read_yaml(directory / "study.yaml"), directory / "study.yaml")
    grid = read_agent_study(directory / "study.yaml")
    names = list(grid.methods)
    runs = grid.runs(directory)
    table = _comparable(collect_results(runs, directory), names, directory)
    table["return_while_learning"] = [learning(directory / run).mean() for run in table["run"]]
    table = with_scores(table)
    measured = [measure.name for group in (*across(table).values(), *within(table).values()) for measure in group]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *measured])))
    for prefix in ("", LOGIT):
        table[f"{prefix}{GAIN.name}"] = table[f"{prefix}insertion"] - table[f"{prefix}deletion"]
    table[WITHOUT_MAP.name] = 1 - table["frames_with_map"] / table["frames_with_target"]
    return AgentResults(directory, names, len(runs), table)


def agents_table(agents: AgentResults) -> pd.DataFrame:
    """The table of a study.

    Columns: `study` (its directory's name), `scenario`, the `seeds` that it has there, `method`, `measure` and whether
    `higher` or `lower` is `better`; `value` and its 95 % interval `low` to `high`, by the `statistic`: in a scenario
    the mean over seeds with a t interval; over all scenarios, with a stratified bootstrap interval, the interquartile
    mean of normalised returns and the mean of what is on no common scale, where it would leave out whole scenarios; and
    there the `improvement`, the probability that an agent of the method is better than one of the first method. A value
    is missing where it is not defined in every scenario.
    """
    table, first = agents.table, agents.names[0]
    lines = []
    for title, measures in across(table).items():
        name_of, statistic = ("iqm", "interquartile mean") if title == RETURN else ("mean", "mean")
        for measure in measures:
            scores = {name: score_matrix(table, name, measure.name) for name in agents.names}
            sign = -1 if measure.higher_is_better is False else 1
            for name, own in scores.items():
                value = statistics.aggregate(own, names=[name_of])[name_of] if _defined(own) else None
                figures = _figures(value, ESTIMATE)
                if name != first and _defined(own) and _defined(scores[first]):
                    gain = statistics.probability_of_improvement(sign * own, sign * scores[first])
                    figures |= _figures(gain, IMPROVEMENT)
                lines.append(_about(table, ALL, name, measure, statistic) | figures)
    for scenario, rows in table.groupby("scenario", sort=False):
        for measure in _flat(within(table)):
            for name in agents.names:
                mean = statistics.mean_interval(rows.loc[rows["name"] == name, measure.name])
                lines.append(_about(rows, str(scenario), name, measure, "mean") | _figures(mean, ESTIMATE))
    found = pd.DataFrame(lines, columns=COLUMNS[1:]).assign(study=agents.directory.name)[list(COLUMNS)]
    return as_written(found, ESTIMATE + IMPROVEMENT)


def across(table: pd.DataFrame) -> dict[str, list[Measure]]:
    """Titles, and the measures that are aggregated over scenarios."""
    score = MEASURES["score"]
    others = [
        replace(score, name=NORMALISED + name, label=f"Normalised {_words(name)}") for name in _other_returns(table)
    ]
    alignment, faithfulness = (measures_of(kind, "curves") for kind in ("alignment", "faithfulness"))
    return {
        RETURN: [score, *others],
        "Where they look": [*alignment, *map(of_contrast, alignment)],
        "Whether the maps are faithful": [*faithfulness, GAIN, *map(of_logit, [*faithfulness, GAIN])],
    }


def within(table: pd.DataFrame) -> dict[str, list[Measure]]:
    """Titles, and the measures of one scenario: returns as the game counts them."""
    score = MEASURES["score"]
    returns = [
        replace(score, name=name, label=_words(name).capitalize()) for name in ("return", *_other_returns(table))
    ]
    _, alignment, faithfulness = across(table).items()
    return dict([(RETURN, returns), (alignment[0], [*alignment[1], MASK_SHARE, WITHOUT_MAP]), faithfulness])


def with_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `score`: 0 is what random play returns, ±1 what lies farthest from it in the scenario.

    Agents that play worse than at random have a negative score; so the scale must not depend on the best agent alone,
    which may be one of them. Other returns are on the same scale, in columns `normalised_return_dark` and so on.

    >>> table = pd.DataFrame({"scenario": "basic", "return": [-90.0, 80.0, -5.0], "random_return": -90.0})
    >>> with_scores(table)["score"].tolist()
    [0.0, 1.0, 0.5]
    """
    beyond_random = table["return"] - table["random_return"]
    farthest = beyond_random.abs().groupby(table["scenario"]).transform("max")
    farthest = farthest.where(farthest > 0, 1)
    others = {NORMALISED + name: (table[name] - table["random_return"]) / farthest for name in _other_returns(table)}
    return table.assign(score=beyond_random / farthest, **others)


def score_matrix(table: pd.DataFrame, name: str, column: str) -> np.ndarray:
    """(seeds, scenarios) of one method, with all scenarios of the table; NaN where a run is missing."""
    matrix = table[table["name"] == name].pivot(index="seed", columns="scenario", values=column)
    return matrix.reindex(columns=table["scenario"].unique()).to_numpy(dtype=float)


def learning(run: Path) -> pd.Series:
    """Mean return of the episodes that ended in each update, by decisions so far."""
    return pd.read_csv(run / "metrics.csv", index_col="step").reindex(columns=["train/return"])["train/return"]


def _comparable(table: pd.DataFrame, names: list[str], directory: Path) -> pd.DataFrame:
    """The agents of those scenarios and seeds where every method has one."""
    if len(table):
        table = table[table.groupby(["scenario", "seed"])["name"].transform("nunique") == len(names)]
    if table.empty:
        raise InputError(
            f"Nothing to compare in {str(directory)!r} yet: no scenario and seed where each of {', '.join(names)} has "
            "a result. Do the missing runs with lookright rl study."
        )
    if table["episodes"].nunique() > 1:
        first = table.drop_duplicates("episodes")
        found = ", ".join(f"{run}: {number}" for run, number in zip(first["run"], first["episodes"], strict=True))
        raise InputError(
            f"The agents of {str(directory)!r} were evaluated on different numbers of episodes ({found}), so their "
            "means do not compare. Give all of them the same with lookright rl evaluate RUN --episodes NUMBER."
        )
    return table


def _about(rows: pd.DataFrame, scenario: str, name: str, measure: Measure, statistic: str) -> dict[str, object]:
    return {
        "scenario": scenario,
        "seeds": ", ".join(map(str, sorted(rows["seed"].unique()))),
        "method": name,
        "measure": measure.label,
        "better": better(measure),
        "statistic": statistic,
    }


def _figures(estimate: statistics.Estimate | None, columns: tuple[str, str, str]) -> dict[str, float]:
    if estimate is None or not estimate.count:
        return {}
    return dict(zip(columns, (estimate.value, estimate.low, estimate.high), strict=True))


def _defined(matrix: np.ndarray) -> bool:
    """Whether every scenario has a value."""
    return not np.isnan(matrix).all(axis=0).any()


def _flat(groups: dict[str, list[Measure]]) -> Iterator[Measure]:
    return (measure for group in groups.values() for measure in group)


def _other_returns(table: pd.DataFrame) -> list[str]:
    return [column for column in table.columns if column.startswith("return_")]


def _words(column: str) -> str:
    """`return_while_learning` as `return, while learning`."""
    return column.replace("_", ", ", 1).replace("_", " ")
