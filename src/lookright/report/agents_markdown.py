"""A study of agents as a page: scores with intervals, performance profiles, learning curves."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookright import statistics
from lookright.errors import InputError
from lookright.measures import LOGIT, MEASURES, Measure, measures_of, of_contrast, of_logit
from lookright.replacing import replacing
from lookright.report.markdown import DASH, head
from lookright.report.markdown import table as markdown_table
from lookright.rl.agent_study import collect_results, read_agent_study
from lookright.rl.watch import SUFFIXES
from lookright.run_directory import read_json
from lookright.trust import require_trusted
from lookright.yaml_file import read_yaml

NORMALISED = "normalised_"
"""Before the name of a return's column: the same on the scale of the score."""

SMOOTHING = 10
"""Updates over which learning curves are averaged."""


GAIN = replace(
    MEASURES["insertion"],
    name="insertion_minus_deletion",
    label="Insertion − deletion",
    sentence="Mean probability of the target while pixels are revealed minus that while they are removed.",
)
"""What the order of the pixels is worth; a constant that is added to all logits leaves it as it is."""


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
    others = {
        NORMALISED + name: (table[name] - table["random_return"]) / farthest
        for name in table.columns
        if name.startswith("return_")
    }
    return table.assign(score=beyond_random / farthest, **others)


def measured(table: pd.DataFrame) -> dict[str, dict[str, Measure]]:
    """Titles of tables, and the columns of each: those that are aggregated over scenarios."""
    score = MEASURES["score"]
    others = [
        replace(score, name=NORMALISED + name, label=f"Normalised {_words(name)}")
        for name in table.columns
        if name.startswith("return_")
    ]
    alignment, faithfulness = (measures_of(kind, "curves") for kind in ("alignment", "faithfulness"))
    return {
        title: {row.name: row for row in rows}
        for title, rows in {
            "Return": [score, *others],
            "Where they look": [*alignment, *map(of_contrast, alignment)],
            "Whether the maps are faithful": [*faithfulness, GAIN, *map(of_logit, [*faithfulness, GAIN])],
        }.items()
    }


def score_matrix(table: pd.DataFrame, name: str, column: str) -> np.ndarray:
    """(seeds, scenarios) of one method, with all scenarios of the table; NaN where a run is missing."""
    matrix = table[table["name"] == name].pivot(index="seed", columns="scenario", values=column)
    return matrix.reindex(columns=table["scenario"].unique()).to_numpy(dtype=float)


def write_agents(directory: Path, out: Path) -> None:
    """Write a study as a Markdown page, and its figure beside it as SVG.

    Args:
        directory: of the study; it may be unfinished.
        out: the Markdown file.

    Raises:
        InputError: no study of agents, none of its scenarios and seeds is finished, or its agents were evaluated on
            different numbers of episodes.
    """
    if not (directory / "random.json").is_file():
        raise InputError(f"No results of agents in {str(directory)!r}. Expected the directory of lookright rl study.")
    require_trusted(read_yaml(directory / "study.yaml"), directory / "study.yaml")
    grid = read_agent_study(directory / "study.yaml")
    names = list(grid.methods)
    runs = list(grid.runs(directory))
    table = _comparable(collect_results(runs, directory), names, directory)
    table["return_while_learning"] = [_learning(directory / run).mean() for run in table["run"]]
    table = with_scores(table)
    groups = measured(table)
    columns = [column for group in groups.values() for column in group]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *columns])))
    for prefix in ("", LOGIT):
        table[f"{prefix}{GAIN.name}"] = table[f"{prefix}insertion"] - table[f"{prefix}deletion"]
    table["frames_without_map"] = 1 - table["frames_with_map"] / table["frames_with_target"]
    out.parent.mkdir(parents=True, exist_ok=True)
    figure = out.with_suffix(".svg")
    _draw(table, names, directory, figure)
    timesteps, seeds = table["timesteps"].max(), table["seed"].nunique()
    parts = [
        "# Agents",
        f"Written by `lookright rl results {directory} --out {out}`; do not edit by hand.",
        f"{len(table)} agents, {timesteps:,} decisions each, {seeds} seeds. Each was evaluated on the same "
        f"{table['episodes'].max()} episodes of its scenario; maps explain the action taken. Trained on: "
        f"{'; '.join(_devices(directory, table['run']))}.",
    ]
    if len(table) < len(runs):
        parts.append(
            f"The study is unfinished: {len(runs) - len(table)} of its {len(runs)} agents are left out, those of every "
            "scenario and seed where some method has no result."
        )
    parts += [
        "## All scenarios",
        "Interquartile mean over scenarios and seeds, with 95 % stratified bootstrap intervals. A normalised return of "
        "0 is random play, ±1 the return of the study's agents that lies farthest from it in the scenario; returns in "
        "scenarios that look different, and the mean of all training episodes, are on the same scale. A dash: not "
        "defined in every scenario, or not measured.",
    ]
    for title, group in groups.items():
        heads = ["Method", *map(head, group.values())]
        parts += [f"### {title}", markdown_table(heads, [_aggregates(table, name, group) for name in names])]
        if len(names) > 1:
            parts += [
                f"Probability that an agent of the method is better than one of {names[0]}, with 95 % intervals:",
                markdown_table(heads, [_improvements(table, name, names[0], group) for name in names[1:]]),
            ]
    parts += [
        f"![Performance profiles and learning curves]({figure.name})",
        "Left: share of agents whose normalised return exceeds a threshold, with 95 % intervals. Others: mean return "
        f"of training episodes over {SMOOTHING} updates; line: mean of the seeds, band: their range.",
        "Energy in mask is over the frames that show a target and whose map has a positive value, and so is the mask's "
        "share of the frame, what a flat map scores. Frames without a map are those, of all that show a target, whose "
        "map has none; attention gap, pointing game and IoU take it for flat. A constant that is added to all logits "
        "changes no probability but both curves of the logit; their difference is free of it.",
    ]
    returns = ["return", *(column for column in table.columns if column.startswith("return_"))]
    for scenario, rows in table.groupby("scenario", sort=False):
        parts += [f"## {scenario}", f"Mean over seeds with the 95 % t interval. {_known(rows)}"]
        for title, group in groups.items():
            shown = {column: head(measure) for column, measure in group.items()}
            if "score" in group:
                shown = {column: f"{_words(column).capitalize()} ↑" for column in returns}
            elif "energy_in_mask" in group:
                shown |= {"mask_share": "Mask's share of the frame", "frames_without_map": "Frames without a map"}
            means = [[name, *(_mean(rows[rows["name"] == name][column]) for column in shown)] for name in names]
            parts += [f"### {title}", markdown_table(["Method", *shown.values()], means)]
    parts += _films(directory, table["run"], out)
    with replacing(out) as draft:
        draft.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


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


def _known(rows: pd.DataFrame) -> str:
    """What players return that learn nothing."""
    random, scripted = (rows[f"{player}_return"].iloc[0] for player in ("random", "scripted"))
    if np.isnan(scripted):
        return f"Random play returns {random:.4g}."
    return (
        f"Random play returns {random:.4g}, a player of a few rules that is told where the targets are {scripted:.4g}."
    )


def _films(directory: Path, runs: Iterable[str], out: Path) -> list[str]:
    """Plays what `lookright rl watch` wrote into the runs, from where it lies."""
    found = [path for run in runs for path in sorted((directory / run).glob("*")) if path.suffix in SUFFIXES]
    if not found:
        return []
    parts = ["## Films", "Left: what the agent sees. Right: the map of the action that it takes; targets are outlined."]
    for path in found:
        link = quote(os.path.relpath(path, out.parent).replace(os.sep, "/"))
        play = (
            f'<video controls loop muted src="{link}"></video>' if path.suffix == ".mp4" else f"![{path.stem}]({link})"
        )
        parts.append(f"{path.parent.relative_to(directory).as_posix()}\n\n{play}")
    return parts


def _devices(directory: Path, runs: Iterable[str]) -> list[str]:
    paths = [directory / run / "environment.json" for run in runs]
    return list(dict.fromkeys(read_json(path, ["device"])["device"] for path in paths))


def _aggregates(table: pd.DataFrame, name: str, columns: Iterable[str]) -> list[str]:
    cells = [name]
    for column in columns:
        matrix = score_matrix(table, name, column)
        cells.append(_estimate(statistics.aggregate(matrix)["iqm"]) if _defined(matrix) else DASH)
    return cells


def _improvements(table: pd.DataFrame, name: str, baseline: str, columns: Mapping[str, Measure]) -> list[str]:
    cells = [name]
    for column, measure in columns.items():
        sign = 1 if measure.higher_is_better else -1
        ours, theirs = (sign * score_matrix(table, method, column) for method in (name, baseline))
        both = _defined(ours) and _defined(theirs)
        cells.append(_estimate(statistics.probability_of_improvement(ours, theirs)) if both else DASH)
    return cells


def _defined(matrix: np.ndarray) -> bool:
    """Whether every scenario has a value."""
    return not np.isnan(matrix).all(axis=0).any()


def _estimate(estimate: statistics.Estimate) -> str:
    if np.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _mean(values: pd.Series) -> str:
    estimate = statistics.mean_interval(values)
    if not estimate.count:
        return DASH
    if np.isnan(estimate.low):
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} ± {(estimate.high - estimate.low) / 2:.2g}"


def _draw(table: pd.DataFrame, names: list[str], directory: Path, out: Path) -> None:
    scenarios = list(dict.fromkeys(table["scenario"]))
    with mpl.rc_context({"svg.hashsalt": "agents", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.2 * (1 + len(scenarios)), 3), layout="constrained")
        profile, *curves = figure.subplots(1, 1 + len(scenarios))
        thresholds = np.linspace(min(0.0, table["score"].min()), 1, 201)
        for colour, name in enumerate(names):
            share, low, high = statistics.performance_profile(score_matrix(table, name, "score"), thresholds)
            profile.plot(thresholds, share, color=f"C{colour}", label=name)
            profile.fill_between(thresholds, low, high, color=f"C{colour}", alpha=0.2, linewidth=0)
        profile.set(xlabel="normalised return τ", ylabel="share of agents above τ", title="performance profile")
        profile.legend(frameon=False)
        for axes, scenario in zip(curves, scenarios, strict=True):
            for colour, name in enumerate(names):
                runs = table[(table["scenario"] == scenario) & (table["name"] == name)]["run"]
                returns = pd.concat([_returns(directory / run) for run in runs], axis=1)
                axes.plot(returns.index, returns.mean(axis=1), color=f"C{colour}")
                axes.fill_between(
                    returns.index, returns.min(axis=1), returns.max(axis=1), color=f"C{colour}", alpha=0.2, linewidth=0
                )
            axes.set(xlabel="decisions", ylabel="return", title=scenario)
        with replacing(out) as draft:
            figure.savefig(draft, format="svg", metadata={"Date": None})


def _returns(run: Path) -> pd.Series:
    return _learning(run).rolling(SMOOTHING, min_periods=1).mean()


def _learning(run: Path) -> pd.Series:
    """Mean return of the episodes that ended in each update, by decisions so far."""
    return pd.read_csv(run / "metrics.csv", index_col="step").reindex(columns=["train/return"])["train/return"]


def _words(column: str) -> str:
    """`return_while_learning` as `return, while learning`."""
    return column.replace("_", ", ", 1).replace("_", " ")
