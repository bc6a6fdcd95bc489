"""The tables of docs/methods-by-data.md: every method on all data, from the tables of studies in docs.

    python benchmarks/methods_by_data.py

Equal compute is what the file of a study says by `budget`; without it, methods have equal epochs.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import study_tables
import yaml
from study_tables import DOCS, FIGURES, PAGE_OF, against_plain, lines_of, mean, seeds

import lookright
from lookright.methods import Method
from lookright.report.markdown import DASH, table
from lookright.run_directory.settings_file import class_names

STUDIES = Path(__file__).parent / "studies"
PLAIN = "ERM"
NEEDS = {
    PLAIN: "labels",
    "Graft + CAMAL": "masks",
    "Graft": "masks",
    "BackgroundSwap": "masks",
    "SAGE": "masks",
    "CAMAL + SAGE": "masks",
    "CAMAL": "masks",
    "CYBORG": "masks",
    "GRADIA": "masks",
    "CARE": "masks",
    "Balanced": "groups",
    "GroupDRO": "groups",
    "DFR": "groups",
    "JTT": "labels",
    "ALIGN": "labels",
    "DRE": "labels",
    "SGT": "labels",
    "ADL": "labels",
}
"""What each method of the studies needs, in the order of the page."""
SHOWN = {
    PLAIN: "plain training",
    "Balanced": "plain training, groups balanced",
    "GroupDRO": "GroupDRO, groups balanced",
}


@dataclass(frozen=True)
class Source:
    """A study on the data of a column."""

    study: str
    protocol: str = "Shortcut"

    @property
    def equal_compute(self) -> bool:
        """Whether its methods have equal compute; if not, equal epochs."""
        return "budget" in settings_of(self)

    @property
    def told(self) -> str:
        """Its epochs and its page; with a budget, epochs of plain training."""
        settings = settings_of(self)
        return f"{settings.get('budget', settings.get('epochs'))} epochs ([{self.study}]({PAGE_OF[self.study]}))"


@cache
def settings_of(source: Source) -> dict[str, Any]:
    """What the study's file says for all methods of the protocol."""
    study = yaml.safe_load((STUDIES / f"{source.study}.yaml").read_text(encoding="utf-8"))
    return {**study["settings"], **study["protocols"][source.protocol]}


@dataclass(frozen=True)
class Column:
    """A split of some data; of a method that several studies have, the figure is the first one's."""

    head: str
    split: str
    sources: tuple[Source, ...]
    measure: str = "Accuracy"

    def lines(self, method: str, source: Source) -> pd.DataFrame:
        """The line of a method in a study; none where it was not run."""
        lines = lines_of(source.study, method)
        chosen = (lines["measure"] == self.measure) & (lines["split"] == self.split)
        return lines[chosen & (lines["protocol"] == source.protocol)]

    def cells(self, method: str, equal_compute: bool) -> tuple[str, str]:
        """The mean with the number of seeds, and the difference to plain training."""
        for source in self.sources:
            lines = self.lines(method, source)
            if source.equal_compute == equal_compute and len(lines):
                difference = "" if method == PLAIN else against_plain(self.measure, self.split)(lines)
                return f"{mean(self.measure, self.split)(lines)} ({seeds(lines)})", difference
        return DASH, ""


BESTIARY = tuple(map(Source, ("fair_contest", "without_masks", "align_bestiary", "sage_cnn")))
OPEN = (Source("fair_open", "OpenSet"), Source("sage_cnn", "OpenSet"))
TINY = (Source("real_images", "Boxes"), Source("sage_cnn", "tiny_imagenet20"))
COLUMNS = (
    Column("bestiary_shortcut, conflicting", "conflicting", BESTIARY),
    Column("bestiary_shortcut, conflicting, tuned", "conflicting", (Source("tuned_contest"),)),
    Column("bestiary_shortcut, unseen levels", "unseen", BESTIARY),
    Column("bestiary, test", "test", OPEN),
    Column("bestiary, unknown creatures (AUROC)", "unknown", OPEN, "AUROC"),
    Column(
        "pets3_spurious, conflicting",
        "test_conflict",
        (
            Source("fair_photographs", "GivenSplits"),
            Source("photographs_without_masks", "GivenSplits"),
            Source("pets3_spurious", "GivenSplits"),
        ),
    ),
    Column("busi_part, test", "test", (Source("real_images", "Ultrasound"),)),
    Column("osie_gaze, test", "test", (Source("real_images", "Gaze"), Source("sage_cnn", "osie_gaze"))),
    Column(
        "pacs, photos held out",
        "out_of_distribution",
        (Source("fair_pacs", "without photo"), Source("align_pacs", "without photo")),
    ),
    Column("pacs, paintings held out", "out_of_distribution", (Source("align_pacs", "without art_painting"),)),
    Column("tiny_imagenet20, test", "test", TINY),
    Column("tiny_imagenet20, unknown classes (AUROC)", "unknown", TINY, "AUROC"),
)


def figures(equal_compute: bool, everything: bool) -> str:
    """Two lines a method, the second with its differences; `everything`: also methods and data without a figure."""
    by_column = {column.head: [column.cells(method, equal_compute) for method in NEEDS] for column in COLUMNS}
    if not everything:
        by_column = {head: cells for head, cells in by_column.items() if any(mean != DASH for mean, _ in cells)}
    rows = []
    for (method, needs), cells in zip(NEEDS.items(), zip(*by_column.values(), strict=True), strict=True):
        means, differences = zip(*cells, strict=True)
        if everything or set(means) != {DASH}:
            rows.append([f"**{SHOWN.get(method, method)}**", needs, *means])
            if any(differences):
                rows.append(["", "", *differences])
    return table(["", "needs", *by_column], rows)


def data() -> str:
    """Network and epochs of each column."""
    rows = []
    for column in COLUMNS:
        models = {column.lines(PLAIN, source)["model"].item(): None for source in column.sources}
        told = [
            ", ".join(source.told for source in column.sources if source.equal_compute == equal) or DASH
            for equal in (True, False)
        ]
        rows.append([column.head, ", ".join(models), *told])
    return table(["", "network", "equal compute, of plain training's", "equal epochs"], rows)


def not_run() -> str:
    """The methods of the library that none of the studies has."""
    run = {part for method in NEEDS for part in method.split(" + ")}
    rest = sorted({*class_names(Method)} & {*lookright.__all__} - run)
    return f"In none of these studies: {', '.join(rest)}."


def of_the_studies() -> set[str]:
    """The methods of the studies, without controls: floors of maps, and masks that are wrong or given."""
    studies = {source.study for column in COLUMNS for source in column.sources}
    names = FIGURES.loc[FIGURES["study"].isin(studies), "method"].unique()
    return {name for name in names if ", " not in name and not name.endswith(" map")}


PAGES = {
    DOCS / "methods-by-data.md": {
        "equal compute": lambda: figures(equal_compute=True, everything=True),
        "not run": not_run,
        "equal epochs": lambda: figures(equal_compute=False, everything=False),
        "data": data,
    }
}
"""The tables of each page."""

if __name__ == "__main__":
    study_tables.fill_in(Path(__file__).name, PAGES)
