"""Every figure of a study, a line for each method and measure of a split: what a page of results is a digest of."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lookright.errors import InputError, require_one_of
from lookright.measures import FLAT, RANDOM, Measure
from lookright.replacing import replacing
from lookright.report.comparison import Score, Section, sections
from lookright.report.directory import StudyResults
from lookright.report.markdown import DASH
from lookright.report.number import decimal, p_value

COLUMNS = (
    *("study", "protocol", "model", "split", "method", "seeds", "epochs", "measure", "better"),
    *("mean", "half_width", "difference", "low", "high", "p"),
)
FIGURES = ("mean", "half_width", "difference", "low", "high")
"""Six digits of each are kept."""
ENDS = (".csv", ".parquet", ".tex")
FLOORS = {"a flat map": FLAT, "a random map": RANDOM}


def results_table(study: StudyResults) -> pd.DataFrame:
    """The table of a study.

    Columns: `study` (its directory's name), `protocol`, `model`, `split`, `method`, its `seeds` and `epochs` (of a
    training, on average), the `measure` and whether `higher` or `lower` is `better`; the `mean` over the seeds and the
    `half_width` of its 95 % t interval; the `difference` to the baseline, paired by seed, the 95 % interval `low` to
    `high`, and its `p` by Holm's method. What a flat and a random map score stands among the methods.
    """
    lines = [line for section in sections(study) for split in section.splits for line in _lines(section, split)]
    table = pd.DataFrame(lines, columns=COLUMNS[1:]).assign(study=study.directory.name)[list(COLUMNS)]
    return as_written(table, FIGURES)


def as_written(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Figures as a file has them, so that a page made of the one is a digest of the other."""
    figures = table[list(columns)].astype(float).map(lambda figure: float(f"{figure:.6g}"))
    return table.assign(**{column: figures[column] for column in columns})


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table, whole or not at all.

    Args:
        table: of `results_table`.
        out: the file. `.csv` and `.parquet` hold every figure; `.tex` is a table with a line for each method of a
            split, and the means with half of their intervals.

    Raises:
        InputError: another end of the name, or Parquet without its package.
    """
    require_one_of("the end of the file's name", out.suffix, ENDS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        if out.suffix == ".csv":
            table.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")
        elif out.suffix == ".tex":
            draft.write_text(_wide(table).to_latex(escape=True, na_rep=DASH, multirow=False), encoding="utf-8")
        else:
            try:
                table.to_parquet(draft, index=False)
            except ImportError as error:
                raise InputError("Parquet needs a package; install it with pip install pyarrow.") from error


def better(measure: Measure) -> str:
    """Which figures of a measure are better: `higher`, `lower`, or empty."""
    return {True: "higher", False: "lower", None: ""}[measure.higher_is_better]


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """Methods of splits as rows, measures as columns."""
    shown = [with_half_width(*figures) for figures in table[["mean", "half_width"]].itertuples(index=False)]
    keys = ["study", "protocol", "model", "split", "method"]
    table = table.fillna(dict.fromkeys(keys, "")).assign(shown=shown)
    return table.set_index([*keys, "measure"])["shown"].unstack(sort=False)


def with_half_width(mean: float, half_width: float) -> str:
    """A mean, and half of its interval where there is one.

    >>> with_half_width(0.8214, 0.0312), with_half_width(0.8214, math.nan)
    ('0.821 ± 0.031', '0.821')
    """
    return decimal(mean) if math.isnan(half_width) else f"{decimal(mean)} ± {decimal(half_width)}"


def _lines(section: Section, split: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for column in section.metrics_of(split):
        measure = section.measure(column)
        about = {
            "protocol": section.protocol,
            "model": section.model,
            "split": split,
            "measure": measure.label,
            "better": better(measure),
        }
        scores = {score.name: score for score in section.scores(split, column)}
        for name in section.names:
            if name in scores:
                own = {"method": name, "seeds": _seeds(section, name, split), "epochs": _epochs(section, name, split)}
                found.append(about | own | _figures(scores[name]))
        for name, of in FLOORS.items():
            floor = section.floor(split, column, of)
            if not math.isnan(floor):
                found.append(about | {"method": name, "mean": floor})
    return found


def _figures(score: Score) -> dict[str, object]:
    mean, difference = score.mean, score.difference
    figures: dict[str, object] = {"mean": mean.value}
    if mean.low <= mean.high:
        figures["half_width"] = (mean.high - mean.low) / 2
    if difference is not None:
        figures["difference"] = difference.value
        if difference.low <= difference.high:
            p = p_value(score.holm).replace("\u00a0", " ").removeprefix("p ").removeprefix("= ")
            figures |= {"low": difference.low, "high": difference.high, "p": p}
    return figures


def _seeds(section: Section, name: str, split: str) -> str:
    return ", ".join(map(str, section.seeds(name, split)))


def _epochs(section: Section, name: str, split: str) -> float:
    if "epochs" not in section.results:
        return math.nan
    rows = section.results[(section.results["name"] == name) & (section.results["split"] == split)]
    return float(rows["epochs"].mean())
