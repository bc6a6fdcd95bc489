"""The table of docs/which-method.md, from the results of the fair contest.

    python benchmarks/which_method.py runs/fair_contest    # keeps the results as benchmarks/results/fair_contest.csv
    python benchmarks/which_method.py                      # writes the table from these

Seeds that not every method has are left out.
"""

import shutil
import sys
from math import isnan
from pathlib import Path

import pandas as pd

from lookright.report.markdown import table
from lookright.statistics import paired_difference

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fair_contest.csv"
PAGE = ROOT / "docs" / "which-method.md"
BEGIN, END = "<!-- written by benchmarks/which_method.py -->", "<!-- end -->"
PLAIN = "ERM"
MEASURES = {
    "conflicting": ("conflicting", "accuracy"),
    "unseen": ("unseen", "accuracy"),
    "aligned": ("aligned", "accuracy"),
    "attention on evidence": ("conflicting", "contrast_energy_in_mask"),
    "insertion − deletion": ("conflicting", "insertion_minus_deletion"),
    "evidence alone": ("conflicting", "evidence_accuracy"),
    "scenery alone": ("conflicting", "scenery_accuracy"),
}


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that every method has."""
    has = results.groupby("seed")["name"].nunique()
    kept = results[results["seed"].isin(has[has == has.max()].index)]
    return kept.assign(insertion_minus_deletion=kept["insertion"] - kept["deletion"])


def lines(results: pd.DataFrame) -> str:
    """Mean over seeds, and below it the difference to plain training with its 95 % interval, paired by seed."""
    rows = []
    for name, of_method in results.groupby("name", sort=False):
        cells = [f"**{name}**" if name != PLAIN else "plain training", str(of_method["epochs"].iloc[0])]
        against = ["", ""]
        for split, column in MEASURES.values():
            by_seed = results[results["split"] == split].pivot(index="seed", columns="name", values=column)
            cells.append(f"{by_seed[name].mean():.3f}")
            difference = paired_difference(by_seed[name].to_numpy(), by_seed[PLAIN].to_numpy())
            interval = "" if isnan(difference.low) else f" [{difference.low:+.3f}, {difference.high:+.3f}]"
            against.append(f"{difference.value:+.3f}{interval}")
        rows += [cells] if name == PLAIN else [cells, against]
    seeds = results["seed"].nunique()
    flat = results.loc[results["split"] == "conflicting", "flat_energy_in_mask"].iloc[0]
    note = (
        f"Bestiary's shortcut, small CNN at 64 × 64, compute of 48 epochs of plain training, {seeds} seeds "
        "(`benchmarks/studies/fair_contest.yaml`). Below each mean: the difference to plain training, 95 % interval, "
        "paired by seed. The last four columns are measured on conflicting pairs; a flat map has "
        f"{flat:.3f} of its attention on the evidence."
    )
    return f"{note}\n\n{table(['', 'epochs', *MEASURES], rows)}"


def main() -> None:
    if len(sys.argv) > 1:
        shutil.copyfile(Path(sys.argv[1]) / "results.csv", RESULTS)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{lines(complete(pd.read_csv(RESULTS)))}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
