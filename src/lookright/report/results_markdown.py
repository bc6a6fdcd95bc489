"""Writes docs/results.md and the like from study directories, so that no number in them is typed by hand."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookright.measures import FLAT, RANDOM
from lookright.replacing import replacing
from lookright.report.comparison import Score, Section, sections
from lookright.report.directory import StudyResults, read_results
from lookright.report.markdown import DASH, cell, head, table
from lookright.report.number import decimal, p_value
from lookright.report.selection import CAPTION, Selection, selections
from lookright.report.sentence import summary
from lookright.statistics import Estimate


def write_results(directories: Sequence[Path], out: Path) -> None:
    """Writes a Markdown page of results: per protocol and split the means and the paired differences.

    Args:
        directories: directories of studies, in the order of the page.
        out: the Markdown file.

    Raises:
        InputError: where a directory is not that of a study, or a file in it is not what it should be.
    """
    command = shlex.join(["lookright", "results", *map(str, directories), "--out", str(out)])
    parts = [
        "# Results",
        f"Written by `{command}`; do not edit by hand.",
        "Mean ± half the width of the 95 % t interval over seeds. Differences are paired by seed, with their 95 % "
        "interval and the p-value of the paired t-test, corrected by Holm's method where several methods are compared "
        "with the baseline. ↑: higher is better; ↓: lower is better.",
    ]
    for directory in directories:
        parts += _study(read_results(directory), directory)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        draft.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _study(study: StudyResults, directory: Path) -> list[str]:
    environments = list(study.environments())
    about = []
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = list(dict.fromkeys(environment[key] for environment in environments if key in environment))
        about.append(f"- {cell(key)}: {cell('; '.join(values))}")
    parts = [f"## {cell(directory.name)}"]
    if about:
        parts.append("\n".join(about))
    if study.config:
        # Four backticks, so that three in the file do not end it.
        fenced = f"````yaml\n{study.config.strip()}\n````"
        name = directory / "study.yaml"
        parts.append(f"<details><summary>Configuration ({cell(str(name))})</summary>\n\n{fenced}\n\n</details>")
    if tables := selections(study.results):
        parts += _selection(tables)
    for section in sections(study):
        title = " · ".join(part for part in (section.protocol, section.model) if part)
        if title:
            parts.append(f"### {cell(title)}")
        parts += [cell(sentence) for sentence in summary(section, {}).values()]
        for split in section.splits:
            parts += _split(section, split)
    return parts


def _selection(tables: list[Selection]) -> list[str]:
    parts = ["### Model selection", CAPTION]
    for found in tables:
        accuracies = [[method.name, *map(_interval, method.accuracies)] for method in found.methods]
        names = [[method.name, *method.chosen] for method in found.methods]
        parts.append(f"**{cell(found.title)}**")
        parts.append(table(["Accuracy ↑", *found.protocols, "Mean"], accuracies))
        parts.append(table(["Chosen (seeds)", *found.protocols], names))
    return parts


def _split(section: Section, split: str) -> list[str]:
    columns = section.metrics_of(split)
    scores = {column: {score.name: score for score in section.scores(split, column)} for column in columns}
    tells_epochs = "epochs" in section.results and section.results["epochs"].notna().any()
    heads = [
        "Method",
        "Seeds",
        *(["Epochs"] if tells_epochs else []),
        *(head(section.measure(column)) for column in columns),
    ]
    means = [
        [
            name,
            ", ".join(map(str, section.seeds(name, split))),
            *([_epochs(section, name, split)] if tells_epochs else []),
            *(_mean(scores[column].get(name)) for column in columns),
        ]
        for name in section.names
    ]
    for name, of in (("a flat map", FLAT), ("a random map", RANDOM)):
        floors = [section.floor(split, column, of) for column in columns]
        if not all(map(math.isnan, floors)):
            means.append([name, "", *([""] if tells_epochs else []), *map(decimal, floors)])
    parts = [f"**{cell(split)}**", table(heads, means)]
    if len(section.names) > 1:
        differences = [
            [name, *(_difference(scores[column].get(name)) for column in columns)] for name in section.names[1:]
        ]
        parts.append(
            table(
                [f"Difference to {section.baseline}", *(head(section.measure(column)) for column in columns)],
                differences,
            )
        )
    return parts


def _epochs(section: Section, name: str, split: str) -> str:
    """Of a training, on average over the seeds."""
    rows = section.results[(section.results["name"] == name) & (section.results["split"] == split)]
    mean = rows["epochs"].mean()
    return DASH if np.isnan(mean) else f"{mean:.4g}"


def _mean(score: Score | None) -> str:
    return DASH if score is None else _interval(score.mean)


def _interval(mean: Estimate) -> str:
    if not mean.low <= mean.high:
        return decimal(mean.value)
    return f"{decimal(mean.value)} ± {decimal((mean.high - mean.low) / 2)}"


def _difference(score: Score | None) -> str:
    if score is None or score.difference is None:
        return DASH
    difference = score.difference
    value = decimal(difference.value, sign=True)
    if not difference.low <= difference.high:
        return value
    low, high = decimal(difference.low, sign=True), decimal(difference.high, sign=True)
    return f"{value} [{low}, {high}], {p_value(score.holm)}"
