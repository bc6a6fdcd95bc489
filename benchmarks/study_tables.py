"""Figures of the committed tables of studies, docs/results*-table.csv, as cells of other pages.

A cell is a function: of a method's lines in its study's table, its text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from lookright.report.markdown import DASH, table
from lookright.report.number import decimal

DOCS = Path(__file__).parents[1] / "docs"
Cell = Callable[[pd.DataFrame], str]
PAGE_OF = {
    study: page.name.replace("-table.csv", ".md")
    for page in sorted(DOCS.glob("results*-table.csv"))
    for study in pd.read_csv(page, usecols=["study"])["study"].unique()
}
"""The page of each study's results."""
FIGURES = pd.concat(
    pd.read_csv(DOCS / page.replace(".md", "-table.csv"), dtype={"seeds": str})
    for page in dict.fromkeys(PAGE_OF.values())
)


def lines_of(study: str, method: str) -> pd.DataFrame:
    return FIGURES[(FIGURES["study"] == study) & (FIGURES["method"] == method)]


def figure(lines: pd.DataFrame, column: str, measure: str, split: str, protocol: str | None = None) -> float:
    """A column of the line of a measure and a split; NaN where there is none."""
    kept = lines[(lines["measure"] == measure) & (lines["split"] == split)]
    if protocol is not None:
        kept = kept[kept["protocol"] == protocol]
    return float(kept[column].item()) if len(kept) else float("nan")


def mean(measure: str, split: str, protocol: str | None = None) -> Cell:
    return lambda lines: decimal(figure(lines, "mean", measure, split, protocol))


def against_plain(measure: str, split: str, protocol: str | None = None) -> Cell:
    """The difference to plain training, with its 95 % interval where there are several seeds."""
    return lambda lines: signed(
        *(figure(lines, column, measure, split, protocol) for column in ("difference", "low", "high"))
    )


def insertion_minus_deletion(split: str) -> Cell:
    return lambda lines: decimal(figure(lines, "mean", "Insertion", split) - figure(lines, "mean", "Deletion", split))


def epochs(lines: pd.DataFrame) -> str:
    """Of its training, over the seeds; what a method trains before its own is not in it."""
    return f"{lines['epochs'].iloc[0]:.3g}"


def seeds(lines: pd.DataFrame) -> str:
    return str(len(lines["seeds"].iloc[0].split(", ")))


def signed(difference: float, low: float, high: float, digits: int = 3) -> str:
    """A difference with its interval.

    >>> signed(0.152, 0.142, 0.163), signed(-0.05, float("nan"), float("nan"))
    ('+0.152 [+0.142, +0.163]', '−0.050')
    """
    text, low_text, high_text = (decimal(value, digits, sign=True) for value in (difference, low, high))
    return text if low != low else f"{text} [{low_text}, {high_text}]"


def study_table(study: str, methods: Mapping[str, str], columns: Mapping[str, Cell]) -> str:
    """A line for each method, shown name to name in the study; a dash where there is no figure."""
    return table(["", *columns], [[shown, *row(lines_of(study, name), columns)] for shown, name in methods.items()])


def row(lines: pd.DataFrame, columns: Mapping[str, Cell]) -> list[str]:
    return [cell(lines) if len(lines) else DASH for cell in columns.values()]


def filled(page: Path, script: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The text of a page with each table between `<!-- NAME: written by benchmarks/SCRIPT -->` and `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    for name, written in tables.items():
        begin, end = f"<!-- {name}: written by benchmarks/{script} -->\n", "<!-- end -->"
        if begin not in text:
            raise ValueError(f"{page} has no line {begin!r}; add it, and {end!r} below it")
        before, _, rest = text.partition(begin)
        old, found, after = rest.partition(end)
        if not found or ": written by " in old:
            raise ValueError(f"{page} has no {end!r} below {begin!r}; add it")
        text = f"{before}{begin}{written()}\n{end}{after}"
    return text


def fill_in(script: str, pages: Mapping[Path, Mapping[str, Callable[[], str]]]) -> None:
    """Write the tables of pages."""
    for page, tables in pages.items():
        page.write_text(filled(page, script, tables), encoding="utf-8")
