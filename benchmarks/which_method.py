"""The tables and the picture of docs/which-method.md, and the short one of the README.

    python benchmarks/which_method.py runs/fair_contest    # keeps the results as benchmarks/results/fair_contest.csv
    python benchmarks/which_method.py                      # writes tables and picture from what is committed

The first table and the picture are made from that file, without seeds that not every method has; the other tables from
the tables of studies in docs, and some lines from benchmarks/results/filled_masks.csv.
"""

import shutil
import sys
from pathlib import Path

import agents_tables
import matplotlib.pyplot as plt
import pandas as pd
import study_tables
from matplotlib.axes import Axes
from study_tables import (
    DOCS,
    against_plain,
    epochs,
    figure,
    insertion_minus_deletion,
    lines_of,
    mean,
    row,
    seeds,
    signed,
    study_table,
)

from lookright.report.markdown import table
from lookright.report.number import decimal
from lookright.statistics import critical_differences, paired_difference

RESULTS = Path(__file__).parent / "results"
FAIR_CONTEST = RESULTS / "fair_contest.csv"
FILLED_MASKS = RESULTS / "filled_masks.csv"
PICTURE = DOCS / "images" / "which-method.svg"
PLAIN = "ERM"
ATTENTION = "Energy in mask (contrast)"
CONTENDERS = {
    "plain training": PLAIN,
    "BackgroundSwap": "BackgroundSwap",
    "**Graft + CAMAL**": "Graft + CAMAL",
    "CAMAL": "CAMAL",
    "SAGE": "SAGE",
}
IN_SHORT = {
    "plain training": PLAIN,
    "`CAMAL`": "CAMAL",
    "`SAGE`, a third of the epochs, for its step costs three": "SAGE",
    "`BackgroundSwap`": "BackgroundSwap",
    '**`Graft() + CAMAL(map="contrast")`**': "Graft + CAMAL",
}
SHORTCUT = {
    "seeds": seeds,
    "epochs": epochs,
    "conflicting": mean("Accuracy", "conflicting"),
    "against plain training": against_plain("Accuracy", "conflicting"),
    "unseen": mean("Accuracy", "unseen"),
    "aligned": mean("Accuracy", "aligned"),
    "attention on evidence": mean(ATTENTION, "conflicting"),
}
"""Columns of the tables that compare methods with plain training on the bestiary's shortcut."""
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
    kept = results[results["seed"].isin(has[has == results["name"].nunique()].index)]
    return kept.assign(insertion_minus_deletion=kept["insertion"] - kept["deletion"])


def fair_contest() -> str:
    """Mean over seeds, and below it the difference to plain training with its 95 % interval, paired by seed."""
    results = complete(pd.read_csv(FAIR_CONTEST))
    rows = []
    for name, of_method in results.groupby("name", sort=False):
        cells = [f"**{name}**" if name != PLAIN else "plain training", str(of_method["epochs"].iloc[0])]
        against = ["", ""]
        for split, column in MEASURES.values():
            by_seed = results[results["split"] == split].pivot(index="seed", columns="name", values=column)
            cells.append(decimal(by_seed[name].mean()))
            difference = paired_difference(by_seed[name].to_numpy(), by_seed[PLAIN].to_numpy())
            against.append(signed(difference.value, difference.low, difference.high))
        rows += [cells] if name == PLAIN else [cells, against]
    count = results["seed"].nunique()
    flat = results.loc[results["split"] == "conflicting", "flat_energy_in_mask"].mean()
    note = (
        f"Bestiary's shortcut, small CNN at 64 × 64, compute of 48 epochs of plain training, {count} seeds "
        "(`benchmarks/studies/fair_contest.yaml`). Below each mean: the difference to plain training, 95 % interval, "
        "paired by seed. The last four columns are measured on conflicting pairs; a flat map has "
        f"{flat:.3f} of its attention on the evidence."
    )
    return f"{note}\n\n{table(['', 'epochs', *MEASURES], rows)}"


def in_short() -> str:
    """The first table in percent of two figures."""
    of_split = complete(pd.read_csv(FAIR_CONTEST)).query("split == 'conflicting'")
    means = of_split.groupby("name")[["accuracy", "contrast_energy_in_mask"]].mean()
    rows = [[shown, *(f"{100 * value:.0f} %" for value in means.loc[name])] for shown, name in IN_SHORT.items()]
    return table(["", "right where scenery misleads", "attention on the evidence"], rows)


def tuned() -> str:
    """The chosen of each method's draws beside the first, which has its own settings."""
    rows = []
    for shown, name in CONTENDERS.items():
        draws = [lines_of("tuned_contest, all candidates", f"{name}, draw {draw}") for draw in range(4)]
        of_draws = [figure(lines, "mean", "Accuracy", "conflicting") for lines in draws]
        lines = lines_of("tuned_contest", name)
        chosen = figure(lines, "mean", "Accuracy", "conflicting")
        gain = decimal(chosen - of_draws[0], sign=True)
        spread = f"{decimal(min(of_draws))} to {decimal(max(of_draws))}"
        rows.append([shown, seeds(lines), decimal(of_draws[0]), decimal(chosen), gain, spread])
    return table(["", "seeds", "own settings", "chosen", "what tuning gave", "all draws"], rows)


def equal_seconds() -> str:
    """Methods whose steps take longer than their operations say, with fewer epochs."""
    methods = (
        ("plain training", "fair_seconds", PLAIN),
        ("BackgroundSwap", "fair_seconds", "BackgroundSwap, half the epochs"),
        ("**Graft + CAMAL**", "fair_seconds", "Graft + CAMAL, half the epochs"),
        ("SAGE", "fair_seconds", "SAGE, 7 epochs"),
        ("plain training, longer", "fair_seconds", "ERM, twice the epochs"),
        ("plain training, longer still", "fair_longer", PLAIN),
        ("**Graft + CAMAL**, as long", "fair_longer", "Graft + CAMAL"),
    )
    return table(["", *SHORTCUT], [[shown, *row(lines_of(study, name), SHORTCUT)] for shown, study, name in methods])


def photographs() -> str:
    columns = {
        "seeds": seeds,
        "epochs": epochs,
        "where scenery misleads": mean("Accuracy", "test_conflict"),
        "against plain training": against_plain("Accuracy", "test_conflict"),
        "aligned": mean("Accuracy", "test_aligned"),
        "attention on evidence": mean(ATTENTION, "test_conflict"),
        "insertion − deletion": insertion_minus_deletion("test_conflict"),
    }
    return study_table("fair_photographs", CONTENDERS, columns)


def unknown() -> str:
    columns = {
        "seeds": seeds,
        "epochs": epochs,
        "accuracy, known creatures": mean("Accuracy", "test"),
        "against plain training": against_plain("Accuracy", "test"),
        "attention on evidence": mean(ATTENTION, "test"),
        "AUROC, unknown creatures": mean("AUROC", "unknown"),
        "AUROC against plain training": against_plain("AUROC", "unknown"),
    }
    return study_table("fair_open", CONTENDERS, columns)


def real_images() -> str:
    columns = {
        "seeds": seeds,
        "ultrasound, outlines of lesions (43 test images)": mean("Accuracy", "test", "Ultrasound"),
        "scenes, maps of human gaze (140)": mean("Accuracy", "test", "Gaze"),
        "20 classes at 64 × 64, boxes (1,000)": mean("Accuracy", "test", "Boxes"),
    }
    return study_table("real_images", CONTENDERS, columns)


MASKS_COLUMNS = {
    "seeds": seeds,
    "conflicting": mean("Accuracy", "conflicting"),
    "unseen": mean("Accuracy", "unseen"),
    "aligned": mean("Accuracy", "aligned"),
    "attention on evidence": mean(ATTENTION, "conflicting"),
    "evidence alone": mean("Accuracy on the evidence", "conflicting"),
}


def bad_masks() -> str:
    masks = {
        "none: plain training": PLAIN,
        "right": "Graft + CAMAL",
        "their boxes": "boxed",
        "grown by a quarter": "grown by a quarter",
        "moved by a half": "shifted by a half",
        "shrunk by a quarter": "shrunk by a quarter",
        "of other images": "of another image",
    }
    return study_table("bad_masks", masks, MASKS_COLUMNS)


def few_masks() -> str:
    masks = {
        "none: plain training": PLAIN,
        "1 %": "1 % of masks",
        "5 %": "5 % of masks",
        "20 %": "20 % of masks",
        "all": "Graft + CAMAL",
    }
    return study_table("few_masks", masks, MASKS_COLUMNS)


def made_masks(study: str, share: float, made_by: str, headline: str, others: tuple[str, ...]) -> list[str]:
    """Cells of what benchmarks/filled_masks.py found: seeds, accuracies, attention and accuracy on the evidence."""
    made = pd.read_csv(FILLED_MASKS).query("study == @study and share == @share and `made by` == @made_by")
    means = made.groupby("split")[["accuracy", "contrast_energy_in_mask", "evidence_accuracy"]].mean()
    looks = means.loc[headline, ["contrast_energy_in_mask", "evidence_accuracy"]]
    return [str(made["seed"].nunique()), *map(decimal, means["accuracy"][[headline, *others]]), *map(decimal, looks)]


def filled_masks() -> str:
    none, few, every = (
        row(lines_of("few_masks", name), MASKS_COLUMNS) for name in (PLAIN, "5 % of masks", "Graft + CAMAL")
    )
    filled = made_masks("fair_contest", 0.05, "U-Net", "conflicting", ("unseen", "aligned"))
    rows = {"none: plain training": none, "5 %": few, "5 %, the rest made from them": filled, "all": every}
    return table(["masks", *MASKS_COLUMNS], [[masks, *cells] for masks, cells in rows.items()])


def filled_photographs() -> str:
    columns = {
        "seeds": seeds,
        "where scenery misleads": mean("Accuracy", "test_conflict"),
        "aligned": mean("Accuracy", "test_aligned"),
        "attention on evidence": mean(ATTENTION, "test_conflict"),
        "evidence alone": mean("Accuracy on the evidence", "test_conflict"),
    }
    none, every = (row(lines_of("fair_photographs", name), columns) for name in (PLAIN, "Graft + CAMAL"))
    few, fifth, twentieth = (
        made_masks("fair_photographs", share, made_by, "test_conflict", ("test_aligned",))
        for share, made_by in ((0.2, "given"), (0.2, "efficientnet_lite0"), (0.05, "efficientnet_lite0"))
    )
    rows = {
        "none: plain training": none,
        "5 %, the rest made from them": twentieth,
        "20 %": few,
        "20 %, the rest made from them": fifth,
        "all": every,
    }
    return table(["masks", *columns], [[masks, *cells] for masks, cells in rows.items()])


def without_masks() -> str:
    methods = {
        "plain training (needs labels)": PLAIN,
        "plain training, `--balance group` (groups)": "Balanced",
        "[`GroupDRO`](methods/group_dro.md), `--balance group` (groups)": "GroupDRO",
        "[`DFR`](methods/dfr.md) (groups, of `val`, too)": "DFR",
        "[`JTT`](methods/jtt.md), 8 epochs first, mistakes 10 times (labels)": "JTT",
        "[`ALIGN`](methods/align.md) (labels)": "ALIGN",
    }
    return study_table("without_masks", methods, SHORTCUT)


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


PAGES = {
    DOCS / "which-method.md": {
        "fair contest": fair_contest,
        "equal seconds": equal_seconds,
        "tuned": tuned,
        "photographs": photographs,
        "unknown": unknown,
        "real images": real_images,
        "bad masks": bad_masks,
        "few masks": few_masks,
        "filled masks": filled_masks,
        "filled photographs": filled_photographs,
        "without masks": without_masks,
        "agents": agents_tables.study,
    },
    DOCS.parent / "README.md": {"in short": in_short},
}
"""The tables of each page."""


def main() -> None:
    if len(sys.argv) > 1:
        shutil.copyfile(Path(sys.argv[1]) / "results.csv", FAIR_CONTEST)
    draw(complete(pd.read_csv(FAIR_CONTEST)))
    study_tables.fill_in(Path(__file__).name, PAGES)


if __name__ == "__main__":
    main()
