"""What masks of images that the page asks for are worth, beside masks of images drawn at random.

All masks of a folder are hidden. A plain training says which images the page asks for (`lookright.studio.teaching`);
their masks are revealed in rounds, or as many masks of images drawn by the seed, and a guided training with them is
measured.

    python benchmarks/studio_choice.py --data data/pets3_spurious --out runs/studio_choice
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from torch import get_num_threads

from lookright.data.mask_pixels import FILE
from lookright.data.table import mask_files, read_table
from lookright.run_directory.environment import processor
from lookright.statistics import paired_difference
from lookright.studio.folder import StudioFolder
from lookright.studio.scores import RunScores
from lookright.studio.teaching import choose
from lookright.training.results import evaluate_run
from lookright.training.run import TrainedRun, load_run, train

RESULTS = Path(__file__).parent / "results/studio_choice.csv"
SCORES = ["accuracy", "energy_in_mask"]


def with_masks(data: Path, images: set[str], out: Path) -> Path:
    """A folder with the same images, of whose training images only some have a mask."""
    out.mkdir(parents=True, exist_ok=True)
    table, root = read_table(data), data.resolve()
    kept = table["image"].isin(images) | (table["split"] != "train")
    masks = [
        ";".join(str(file.resolve()) for file in mask_files(root, cell)) if cell and keep else ""
        for cell, keep in zip(table["mask"], kept, strict=True)
    ]
    table = table.assign(image=[str(root / image) for image in table["image"]], mask=masks)
    table.drop(columns="mask_weight").to_csv(out / "labels.csv", index=False)
    if (data / FILE).is_file():
        (out / FILE).write_bytes((data / FILE).read_bytes())
    return out


def trained(data: Path, out: Path, seed: int, method: str, settings: dict[str, object]) -> TrainedRun:
    """A run, trained unless it is there."""
    if (out / "model.safetensors").is_file():
        return load_run(out)
    return train(settings | {"data": str(data), "out": str(out), "seed": seed, "method": method})


def asked_for(plain: TrainedRun, data: Path, counts: list[int]) -> list[list[str]]:
    """The images with a mask after each round of the page's requests."""
    scores = RunScores("plain", plain, StudioFolder(data))
    table = read_table(data)
    candidates = table[(table["split"] == "train") & (table["mask_weight"] > 0)]
    labels = dict(zip(candidates["image"], candidates["label"], strict=True))
    by_image = {image: scores.of(image) for image in labels}
    found: list[list[str]] = [[]]
    for count in counts:
        masked = found[-1]
        found.append(masked + choose(by_image, labels, set(masked), count - len(masked)))
    return found[1:]


def drawn(data: Path, counts: list[int], seed: int) -> list[list[str]]:
    """As many images at random, each round keeping those of the one before."""
    table = read_table(data)
    candidates = table["image"][(table["split"] == "train") & (table["mask_weight"] > 0)].to_numpy()
    order = np.random.default_rng(seed).permutation(candidates)
    return [order[:count].tolist() for count in counts]


def measure(data: Path, out: Path, seeds: int, counts: list[int], settings: dict[str, object]) -> pd.DataFrame:
    """One row for each seed, way to choose, number of masks and test split."""
    rows: list[dict[str, object]] = []
    for seed in range(seeds):
        place = out / f"seed-{seed}"
        plain = trained(with_masks(data, set(), place / "none"), place / "plain", seed, "ERM", settings)
        ways = {"page": asked_for(plain, data, counts), "random": drawn(data, counts, seed)}
        for way, rounds in ways.items():
            for count, images in zip(counts, rounds, strict=True):
                folder = with_masks(data, set(images), place / way / f"data-{count}")
                run = trained(folder, place / way / f"run-{count}", seed, "CAMAL", settings)
                for split, values in evaluate_run(run)["splits"].items():
                    measured = {name: values[name] for name in SCORES}
                    rows.append({"seed": seed, "chosen by": way, "masks": count, "split": split} | measured)
    return pd.DataFrame(rows).assign(device=f"{os.cpu_count()} cores of {processor()}, threads: {get_num_threads()}")


def summary(table: pd.DataFrame) -> str:
    """Means over the seeds, and what the page's choice adds, with its 95 % interval where there are several seeds."""
    lines = ["| split | masks | score | page | random | page − random |", "|---|---|---|---|---|---|"]
    for (split, count), part in table.groupby(["split", "masks"]):
        for score in SCORES:
            page, random = (part[part["chosen by"] == way].set_index("seed")[score] for way in ("page", "random"))
            gain = paired_difference(page, random)
            cells = [
                f"{page.mean():.3f}",
                f"{random.mean():.3f}",
                f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
            ]
            lines.append(f"| {split} | {count} | {score} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with masks and the splits train and some tests"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/studio_choice"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    settings: dict[str, object] = {
        "model": "small_cnn", "model_arguments": {"width": 16}, "size": arguments.size, "epochs": arguments.epochs,
        "batch_size": 32, "lr": 0.002, "select": "last", "workers": 0, "faithfulness": "none", "evidence": False,
        "loggers": [],
    }  # fmt: skip
    table = measure(arguments.data, arguments.out, arguments.seeds, sorted(arguments.counts), settings)
    table.to_csv(arguments.results, index=False)
    print(summary(table))


if __name__ == "__main__":
    main()
