"""What methods that need masks gain from those that ALIGN learned, in place of the true ones.

For every seed of a finished study that has ALIGN: the masks that its masker learned are written, each of the methods
named trains on them with the settings that it has in the study, and is measured with the true masks.

    python benchmarks/learned_masks.py runs/align_bestiary CARE GRADIA
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import yaml

from lookright.methods import ALIGN
from lookright.statistics import paired_difference
from lookright.training.masks import write_masks
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, train

RESULTS = Path(__file__).parent / "results/learned_masks.csv"
SCORES = ["accuracy", "energy_in_mask", "iou", "insertion", "deletion", "sufficiency", "comprehensiveness"]


def taught(study: Path, align: Path, method: str) -> Path:
    """Where a run of `method` on the masks of a run of ALIGN was measured with the true ones; made where missing."""
    seed = align.name
    masks, out = study / "learned_masks" / seed, study / "taught" / method / seed
    measured = out / "with_true_masks"
    config = yaml.safe_load((align.parents[1] / method / seed / "config.yaml").read_text())
    if not masks.exists():
        write_masks(load_run(align), Path(config["data"]), masks)
    if not (measured / "result.json").exists():
        run = train(config | {"data": str(masks), "out": str(out)})
        evaluate_run(run, Path(config["data"]), out=measured)
    return measured


def rows(directory: Path, name: str) -> list[dict[str, object]]:
    """A row per test split of a run."""
    result = json.loads((directory / "result.json").read_text())
    scores = ((split, {score: values[score] for score in SCORES}) for split, values in result["splits"].items())
    return [{"name": name, "seed": result["seed"], "split": split, **values} for split, values in scores]


def measure(study: Path, methods: list[str]) -> pd.DataFrame:
    """The scores of plain training, of ALIGN, and of the methods with true and with learned masks."""
    found: list[dict[str, object]] = []
    for path in sorted(study.glob("runs/**/result.json")):
        align = load_run(path.parent)
        if not isinstance(align.settings.method, ALIGN) or align.settings.method.masks != "learned":
            continue
        others = path.parents[2]
        found += rows(others / "ERM" / path.parent.name, "ERM") + rows(path.parent, align.settings.name)
        for method in methods:
            found += rows(others / method / path.parent.name, f"{method}, true masks")
            found += rows(taught(study, path.parent, method), f"{method}, learned masks")
    return pd.DataFrame(found)


def summary(table: pd.DataFrame, score: str) -> str:
    """Mean of a score and its difference to plain training with the 95 % interval, by split and method."""
    lines = ["| | " + " | ".join(splits := sorted(table["split"].unique())) + " |", "|---" * (len(splits) + 1) + "|"]
    scores = table.set_index(["split", "name", "seed"])[score].sort_index()
    for name in table["name"].unique():
        cells = []
        for split in splits:
            values, plain = scores[split, name], scores[split, "ERM"]
            gain = paired_difference(values, plain)
            interval = "" if name == "ERM" else f" ({gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])"
            cells.append(f"{values.mean():.3f}{interval}")
        lines.append("| ".join(["", f"{name} ", *(f"{cell} " for cell in cells)]) + "|")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("methods", nargs="+", help="as the study names them")
    arguments = parser.parse_args()
    table = measure(arguments.study, arguments.methods)
    table.to_csv(RESULTS, index=False)
    for score in ("accuracy", "energy_in_mask", "sufficiency"):
        print(f"\n{score}\n\n{summary(table, score)}")


if __name__ == "__main__":
    main()
