"""Writes docs/results.md and the like from study directories, so that no number in them is typed by hand."""

import math
import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from lookright.replacing import replacing
from lookright.report.comparison import Section, sections
from lookright.report.directory import StudyResults, read_results
from lookright.report.ledger import CAPTION as CAPTION_OF_LEDGER
from lookright.report.ledger import ledger
from lookright.report.markdown import DASH, cell, configuration, folded, require_file
from lookright.report.markdown import table as markdown_table
from lookright.report.number import decimal, p_value
from lookright.report.results_table import FLOORS, results_table, with_half_width, write_table
from lookright.report.selection import CAPTION, Selection, selections
from lookright.report.sentence import summary
from lookright.report.tuning import RULE, candidates, tuned_study, tunings
from lookright.statistics import Estimate, PairedDifference
from lookright.time_left import duration

ABOUT = (
    "Mean ± half the width of the 95 % t interval over seeds. Differences are paired by seed, to the first method, "
    "with their 95 % interval and the p-value of the paired t-test, corrected by Holm's method where several methods "
    "are compared. ↑: higher is better; ↓: lower is better. [All figures]({table})."
)
FIRST = ("Accuracy", "AUROC")
"""The measures of a digest, besides those of attention."""
ATTENTION = ("Energy in mask (contrast)", "Energy in mask")


def write_results(directories: Sequence[Path], out: Path) -> None:
    """Writes a Markdown page of results, and beside it, as CSV, the full table that it is a digest of.

    Args:
        directories: directories of studies, in the order of the page.
        out: the Markdown file; the table is called as it is, with `-table.csv` at the end.

    Raises:
        InputError: where a directory is not that of a study, a file in it is not what it should be, or `out` is a
            folder.
    """
    require_file(out)
    command = shlex.join(["lookright", "results", *map(str, directories), "--out", str(out)])
    table = out.with_name(f"{out.stem}-table.csv")  # not results.csv, which a study's directory has
    parts = ["# Results", f"Written by `{command}`; do not edit by hand.", ABOUT.format(table=table.name)]
    figures: list[pd.DataFrame] = []
    for directory in directories:
        study = read_results(directory)
        tuned = tuned_study(study)
        figures.append(results_table(tuned or study))
        parts += [*_about(study), *_choice(study), *_sections(tuned or study, figures[-1]), *_cost(study)]
        if tuned:
            figures.append(results_table(study).assign(study=f"{directory.name}, all candidates"))
            parts += _candidates(study, figures[-1])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(pd.concat(figures), table)
    with replacing(out) as draft:
        draft.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _about(study: StudyResults) -> list[str]:
    environments = list(study.environments())
    about = []
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = list(dict.fromkeys(environment[key] for environment in environments if key in environment))
        about.append(f"- {cell(key)}: {cell('; '.join(values))}")
    parts = [f"## {cell(study.directory.name)}"]
    if about:
        parts.append("\n".join(about))
    if study.config:
        parts.append(configuration(study.directory / "study.yaml", study.config))
    return parts


def _choice(study: StudyResults) -> list[str]:
    """What was chosen among candidates, by DomainBed's rules and by validation."""
    parts = _selection(tables) if (tables := selections(study.results)) else []
    for number, tuning in enumerate(tunings(study)):
        parts += [] if number else ["### What tuning gave", RULE]
        heads = ["Accuracy ↑", "Seeds", "First candidate", "Chosen", "Chosen − first"]
        heads += [f"Chosen − {tuning.baseline}", "All candidates"]
        rows = [
            [
                method.tuned.name,
                ", ".join(map(str, method.tuned.seeds)),
                _interval(method.first),
                _interval(method.tuned.mean),
                _paired(method.gain),
                _paired(method.tuned.difference, method.tuned.holm),
                f"{decimal(method.lowest)} to {decimal(method.highest)}",
            ]
            for method in tuning.methods
        ]
        parts += [f"**{cell(tuning.title)}**", markdown_table(heads, rows)]
    return parts


def _sections(study: StudyResults, figures: pd.DataFrame) -> list[str]:
    parts = []
    for section in sections(study):
        title = " · ".join(part for part in (section.protocol, section.model) if part)
        if title:
            parts.append(f"### {cell(title)}")
        parts += [cell(sentence) for sentence in summary(section, {}).values()]
        parts.append(_digest_of(section, figures))
    return parts


def _digest_of(section: Section, figures: pd.DataFrame) -> str:
    rows = figures[(figures["protocol"] == section.protocol) & (figures["model"] == section.model)]
    return digest(rows, section.headline_split())


def _cost(study: StudyResults) -> list[str]:
    entries = ledger(study)
    if not entries:
        return []
    rows = [[entry.method, str(entry.runs), decimal(entry.compute, 1), _time(entry.seconds)] for entry in entries]
    heads = ["Method", "Runs", "Compute, epochs of plain training", "Training time"]
    return ["### What it cost", CAPTION_OF_LEDGER, markdown_table(heads, rows)]


def _time(seconds: float) -> str:
    return DASH if math.isnan(seconds) else duration(seconds)


def _candidates(study: StudyResults, figures: pd.DataFrame) -> list[str]:
    """Every candidate: what it is, what it was chosen by, and its own digest."""
    heads = ["Candidate", "Settings", "Validation accuracy ↑", "Chosen by seeds"]
    tables = [
        markdown_table(
            heads, [[one.name, one.drawn or DASH, _interval(one.validation), one.chosen] for one in of_title]
        )
        for _, of_title in groupby(candidates(study), key=lambda one: one.title)
    ]
    digests = [_digest_of(section, figures) for section in sections(study)]
    return [folded("All candidates", "\n\n".join(part for pair in zip(tables, digests, strict=True) for part in pair))]


def _selection(tables: list[Selection]) -> list[str]:
    parts = ["### Model selection", CAPTION]
    for found in tables:
        accuracies = [[method.name, *map(_interval, method.accuracies)] for method in found.methods]
        names = [[method.name, *method.chosen] for method in found.methods]
        parts.append(f"**{cell(found.title)}**")
        parts.append(markdown_table(["Accuracy ↑", *found.protocols, "Mean"], accuracies))
        parts.append(markdown_table(["Chosen (seeds)", *found.protocols], names))
    return parts


def digest(table: pd.DataFrame, headline: str) -> str:
    """The figures that are asked for first: accuracy on every split, on the `headline` differences and attention, too.

    Args:
        table: the lines of one protocol and model, see `results_table`.
        headline: the split that comes first.
    """
    names = [name for name in dict.fromkeys(table["method"]) if name not in FLOORS]
    columns = [*_columns(table, headline)]
    heads = ["Method", "Seeds", *(head for head, _ in columns)]
    about = table.drop_duplicates("method").set_index("method")
    if table["epochs"].notna().any():
        heads.insert(2, "Epochs")
    rows = []
    for name in [*names, *(floor for floor in FLOORS if floor in about.index)]:
        row = [name, str(about.loc[name, "seeds"]) if name in names else ""]
        if "Epochs" in heads:
            row.append(f"{about.loc[name, 'epochs']:.4g}".replace("nan", "" if name in FLOORS else DASH))
        rows.append([*row, *(column.get(name, DASH) for _, column in columns)])
    return markdown_table(heads, rows)


def _columns(table: pd.DataFrame, headline: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The head of each column of a digest, and its cells by method."""
    has = {*table["measure"]}
    attention = next((label for label in ATTENTION if label in has), None)
    first = [label for label in FIRST if label in has] or [table["measure"].iloc[0]]
    for split in sorted(table["split"].unique(), key=lambda split: split != headline):
        for label in [*first, *([attention] if attention and split == headline else [])]:
            lines = table[(table["split"] == split) & (table["measure"] == label)].set_index("method")
            if lines.empty:
                continue
            arrow = {"higher": " ↑", "lower": " ↓"}.get(lines["better"].iloc[0], "")
            yield f"{label}, {split}{arrow}", {str(name): _mean(line) for name, line in lines.iterrows()}
            if split == headline and lines["difference"].notna().any():
                yield "Difference", {str(name): _difference(line) for name, line in lines.iterrows()}


def _mean(line: pd.Series) -> str:
    return with_half_width(line["mean"], line["half_width"])


def _interval(mean: Estimate) -> str:
    return with_half_width(mean.value, (mean.high - mean.low) / 2)


def _difference(line: pd.Series) -> str:
    p = str(line["p"])
    relation = "" if p[0] in f"<{DASH}" else "= "
    return _with_ends(line["difference"], line["low"], line["high"], f"p {relation}{p}".replace(" ", "\u00a0"))


def _paired(difference: PairedDifference | None, p: float | None = None) -> str:
    """A difference with its interval; the p-value that stands in the place of its own, if any."""
    if difference is None:
        return DASH
    told = p_value(difference.p_value if p is None else p)
    return _with_ends(difference.value, difference.low, difference.high, told)


def _with_ends(value: float, low: float, high: float, told: str) -> str:
    if math.isnan(value):
        return DASH
    text, *ends = (decimal(number, sign=True) for number in (value, low, high))
    return text if math.isnan(low) else f"{text} [{', '.join(ends)}], {told}"
