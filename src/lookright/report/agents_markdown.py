"""A study of agents as a page: scores with intervals, performance profiles, learning curves."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lookright import statistics
from lookright.measures import Measure
from lookright.replacing import replacing
from lookright.report.agents_table import (
    ALL,
    ESTIMATE,
    IMPROVEMENT,
    AgentResults,
    across,
    agents_table,
    learning,
    read_agents,
    score_matrix,
    within,
)
from lookright.report.markdown import configuration, head, require_file
from lookright.report.markdown import table as markdown_table
from lookright.report.number import decimal, with_error
from lookright.report.results_table import write_table
from lookright.rl.watch import SUFFIXES
from lookright.run_directory import read_json

SMOOTHING = 10
"""Updates over which learning curves are averaged."""


def write_agents(directory: Path, out: Path) -> None:
    """Write a study as a Markdown page, beside it its figure as SVG and the full table as CSV.

    Args:
        directory: of the study; it may be unfinished.
        out: the Markdown file; the table is called as it is, with `-table.csv` at the end.

    Raises:
        InputError: see `read_agents`; or `out` is a folder.
    """
    require_file(out)
    agents = read_agents(directory)
    table, names = agents.table, agents.names
    figures = agents_table(agents)
    write_table(figures, out.with_name(f"{out.stem}-table.csv"))
    figure = out.with_suffix(".svg")
    _draw(agents, figure)
    parts = [
        f"# Agents: {directory.name}",
        f"Written by `lookright rl results {directory} --out {out}`; do not edit by hand. "
        f"[All figures]({out.stem}-table.csv).",
        f"{len(table)} agents, {table['timesteps'].max():,} decisions each, {table['seed'].nunique()} seeds. Each was "
        f"evaluated on the same {table['episodes'].max()} episodes of its scenario; maps explain the action taken. "
        f"Trained on: {'; '.join(_devices(directory, table['run']))}.",
    ]
    study = directory / "study.yaml"
    parts.append(configuration(study, study.read_text(encoding="utf-8")))
    if len(table) < agents.planned:
        parts.append(
            f"The study is unfinished: {agents.planned - len(table)} of its {agents.planned} agents are left out, "
            "those of every scenario and seed where some method has no result."
        )
    parts += [
        "## All scenarios",
        "Over scenarios and seeds, with 95 % stratified bootstrap intervals: the interquartile mean of returns, and "
        "the mean of all else, whose scale differs between scenarios. A normalised return of 0 is random play, ±1 the "
        "return of the study's agents that lies farthest from it in the scenario; returns in scenarios that look "
        "different, and those while learning, the mean over updates of the mean of the episodes that ended in each, "
        "are on the same scale. A dash: not defined in every scenario, or not measured.",
    ]
    for title, group in across(table).items():
        shown = partial(_table, figures, ALL, group)
        parts += [f"### {title}", shown(names, _interval, ESTIMATE)]
        if len(names) > 1:
            parts += [
                f"Probability that an agent of the method is better than one of {names[0]}, with 95 % intervals:",
                shown(names[1:], _interval, IMPROVEMENT),
            ]
    parts += [
        f"![Performance profiles and learning curves]({figure.name})",
        "Left: share of agents whose normalised return exceeds a threshold, with 95 % intervals. Others: mean return "
        f"of training episodes over {SMOOTHING} updates; line: mean of the seeds, band: their range.",
        "Energy in mask is over the frames that show a target and whose map has a positive value, and so is the mask's "
        "share of the frame, what a flat map scores; the contrast map has frames of its own. Frames without a map are "
        "those, of all that show a target, whose map has none; attention gap, pointing game and IoU take it for flat. "
        "A constant that is added to all logits changes no probability but both curves of the logit; their difference "
        "is free of it.",
    ]
    for scenario, rows in table.groupby("scenario", sort=False):
        parts += [f"## {scenario}", f"Mean over seeds with the 95 % t interval. {_known(rows)}"]
        for title, group in within(table).items():
            means = _table(figures, str(scenario), group, names, _half_width, ESTIMATE)
            parts += [f"### {title}", means]
    parts += _films(directory, table["run"], out)
    with replacing(out) as draft:
        draft.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _table(
    figures: pd.DataFrame,
    scenario: str,
    measures: Sequence[Measure],
    names: Sequence[str],
    shown: Callable[[float, float, float], str],
    columns: tuple[str, str, str],
) -> str:
    """Methods as rows, measures as columns."""
    cells = {
        (name, measure): shown(*figure)
        for of, name, measure, *figure in figures[["scenario", "method", "measure", *columns]].itertuples(index=False)
        if of == scenario
    }
    rows = [[name, *(cells[name, measure.label] for measure in measures)] for name in names]
    return markdown_table(["Method", *map(head, measures)], rows)


def _interval(value: float, low: float, high: float) -> str:
    return decimal(value) if np.isnan(low) else f"{decimal(value)} [{decimal(low)}, {decimal(high)}]"


def _half_width(value: float, low: float, high: float) -> str:
    return with_error(value, (high - low) / 2)


def _known(rows: pd.DataFrame) -> str:
    """What players return that learn nothing."""
    random, scripted = (rows[f"{player}_return"].iloc[0] for player in ("random", "scripted"))
    if np.isnan(scripted):
        return f"Random play returns {with_error(random)}."
    return (
        f"Random play returns {with_error(random)}, a player of a few rules that is told where the targets are "
        f"{with_error(scripted)}."
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


def _draw(agents: AgentResults, out: Path) -> None:
    table, names = agents.table, agents.names
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
                returns = pd.concat([_returns(agents.directory / run) for run in runs], axis=1)
                axes.plot(returns.index, returns.mean(axis=1), color=f"C{colour}")
                axes.fill_between(
                    returns.index, returns.min(axis=1), returns.max(axis=1), color=f"C{colour}", alpha=0.2, linewidth=0
                )
            axes.set(xlabel="decisions", ylabel="return", title=scenario)
        with replacing(out) as draft:
            figure.savefig(draft, format="svg", metadata={"Date": None})


def _returns(run: Path) -> pd.Series:
    return learning(run).rolling(SMOOTHING, min_periods=1).mean()
