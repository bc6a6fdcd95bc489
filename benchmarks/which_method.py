"""The table and the picture of docs/which-method.md, from the results of the fair contest.

    python benchmarks/which_method.py runs/fair_contest    # keeps the results as benchmarks/results/fair_contest.csv
    python benchmarks/which_method.py                      # writes both from these

Seeds that not every method has are left out.
"""

import shutil
import sys
from math import isnan
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from lookright.report.markdown import table
from lookright.statistics import critical_differences, paired_difference

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fair_contest.csv"
PAGE = ROOT / "docs" / "which-method.md"
PICTURE = ROOT / "docs" / "images" / "which-method.svg"
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
    flat = results.loc[results["split"] == "conflicting", "flat_energy_in_mask"].mean()
    note = (
        f"Bestiary's shortcut, small CNN at 64 × 64, compute of 48 epochs of plain training, {seeds} seeds "
        "(`benchmarks/studies/fair_contest.yaml`). Below each mean: the difference to plain training, 95 % interval, "
        "paired by seed. The last four columns are measured on conflicting pairs; a flat map has "
        f"{flat:.3f} of its attention on the evidence."
    )
    return f"{note}\n\n{table(['', 'epochs', *MEASURES], rows)}"


def draw(results: pd.DataFrame) -> None:
    """Accuracy against attention, and the mean ranks of accuracy."""
    plt.rcParams |= {"svg.hashsalt": "lookright", "font.size": 9}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    conflicting = results[results["split"] == "conflicting"]
    accuracy_against_attention(left, conflicting)
    mean_ranks(right, conflicting.pivot(index="seed", columns="name", values="accuracy"))
    figure.savefig(PICTURE, metadata={"Date": None})


def accuracy_against_attention(axes: Axes, results: pd.DataFrame) -> None:
    """A mark for each method; its area is what a step costs."""
    for place, (name, of_method) in enumerate(results.groupby("name", sort=False)):
        x, y = of_method["contrast_energy_in_mask"].mean(), of_method["accuracy"].mean()
        step = results["epochs"].max() / of_method["epochs"].iloc[0]
        axes.scatter(x, y, 60 * step, alpha=0.8)
        axes.annotate(
            str(name).replace("ERM", "plain training"), (x, y), (8, 14 * (place % 2) - 10), textcoords="offset points"
        )
    axes.margins(x=0.45, y=0.15)
    axes.set(xlabel="attention on the evidence (contrast map)", ylabel="accuracy, conflicting pairs")


def mean_ranks(axes: Axes, accuracy: pd.DataFrame) -> None:
    """The best on the left; a bar joins methods that are not told apart."""
    found = critical_differences(accuracy.to_numpy(), list(accuracy.columns))
    for height, (name, rank) in enumerate(zip(found.names, found.ranks, strict=True)):
        axes.plot([rank, rank], [0, height + 1], color="grey", linewidth=0.8)
        axes.annotate(
            name.replace("ERM", "plain training"),
            (rank, height + 1),
            (3, -3),
            textcoords="offset points",
            backgroundcolor="w",
        )
    for place, (first, last) in enumerate(found.groups):
        axes.plot([found.ranks[first] - 0.05, found.ranks[last] + 0.05], [-0.4 * (place + 1)] * 2, "k", linewidth=3)
    axes.set(xlabel=f"mean rank over {found.count} seeds; critical difference {found.difference:.1f}", yticks=[])
    axes.margins(x=0.25)
    axes.spines[["left", "right", "top"]].set_visible(False)


def main() -> None:
    if len(sys.argv) > 1:
        shutil.copyfile(Path(sys.argv[1]) / "results.csv", RESULTS)
    results = complete(pd.read_csv(RESULTS))
    draw(results)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{lines(results)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
