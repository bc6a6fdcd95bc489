"""Do masks that a small network makes from a twentieth of them do as well as all of them?

For each seed: the masks that few_masks.yaml leaves with `mask_share: 0.05` (the seed draws them), `lookright data fill`
for the other training images, and the recipe as in that study on what came out.

    lookright data bestiary data/bestiary_shortcut --images-per-pair 20 --images-at-home 300 --size 64
    python benchmarks/filled_masks.py data/bestiary_shortcut

adds to benchmarks/results/filled_masks.csv a row for each seed and split.
"""

import argparse
import shutil
import time
from pathlib import Path

import jsonargparse
import pandas as pd
import torch

from lookright.run_directory.environment import processor
from lookright.study.config import read_study
from lookright.training.fill import fill_masks
from lookright.training.results import evaluate_run
from lookright.training.run import train
from lookright.training.run_data import load_data, thin_out_masks
from lookright.training.settings import instantiate

HERE = Path(__file__).parent
RESULTS = HERE / "results/filled_masks.csv"
COLUMNS = ("accuracy", "contrast_energy_in_mask", "insertion", "deletion", "evidence_accuracy", "scenery_accuracy")


def settings_of(seed: int) -> jsonargparse.Namespace:
    """Of the study's run with 5 % of the masks."""
    study = read_study(HERE / "studies/few_masks.yaml")
    (found,) = (
        run.settings
        for run in study.runs(Path("runs"))
        if (run.settings.name, run.settings.seed) == ("5 % of masks", seed)
    )
    return found


def with_few_masks(data: Path, settings: jsonargparse.Namespace, folder: Path) -> None:
    """A copy of the folder whose training images have the masks that the study leaves them."""
    shutil.copytree(data, folder)
    known = load_data(data, instantiate(settings).protocol, settings.seed, check_pixels=False)
    thin_out_masks(known.table, settings.mask_share, settings.seed)
    bare = known.rows("train").query("mask_weight == 0")["image"]
    table = pd.read_csv(data / "labels.csv", dtype=str, keep_default_na=False)
    table["mask"] = table["mask"].where(~table["image"].isin(bare), "")
    # Of test images, too, masks are there: the split keeps them from being learned from.
    table["split"] = table["image"].map(known.table.set_index("image")["split"]).fillna("unused")
    table.to_csv(folder / "labels.csv", index=False)


def measure(data: Path, out: Path, seed: int, steps: int) -> pd.DataFrame:
    settings = settings_of(seed)
    few, filled = out / f"few-{seed}", out / f"filled-{seed}"
    with_few_masks(data, settings, few)
    start = time.perf_counter()
    done = fill_masks(few, filled, settings.size, steps, seed)
    seconds = time.perf_counter() - start
    settings.data, settings.out, settings.mask_share = filled, out / f"run-{seed}", 1.0
    result = evaluate_run(train(settings))
    told = {"seed": seed, "masks": done.given, "iou": done.iou, "fill_seconds": seconds}
    told |= {"train_seconds": result["train_seconds"], "epochs": result["epochs"], "device": processor()}
    return pd.DataFrame(
        [told | {"split": split} | {name: of[name] for name in COLUMNS} for split, of in result["splits"].items()]
    ).round(4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/filled_masks"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True)
    for seed in arguments.seeds:
        rows = measure(arguments.data, arguments.out, seed, arguments.steps)
        print(rows.to_string(index=False), flush=True)
        rows.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
