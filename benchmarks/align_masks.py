"""How well the masks that ALIGN learned agree with those of the data, which it never saw.

For every finished ALIGN run of a study and each of its test splits: the share of the learned mask that lies in the true
one (`energy_in_mask`), the intersection over union at the true mask's area (`iou`), and what a mask that is the same
everywhere would score in the first (`area`).

    python benchmarks/align_masks.py runs/align_bestiary
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from lookright import metrics
from lookright.data.images import read_mask
from lookright.data.table import read_table
from lookright.methods import ALIGN
from lookright.training.masks import write_masks
from lookright.training.run import TrainedRun, load_run


def agreement(run: TrainedRun) -> pd.DataFrame:
    """One row per test split."""
    folder, settings = run.settings.data, run.settings
    table = settings.protocol.assign(read_table(folder), settings.seed)
    table = table[(table["mask"] != "") & ~table["split"].isin(["train", "val"])]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        tested, out = Path(temporary, "tested"), Path(temporary, "masked")
        tested.mkdir()
        for path in folder.iterdir():
            if path.name != "labels.csv":
                (tested / path.name).symlink_to(path.resolve())
        table.to_csv(tested / "labels.csv", index=False)
        learned = write_masks(run, tested, out).set_index("image")["mask"]
        for split, images in table.groupby("split"):
            scores = []
            for image, mask in zip(images["image"], images["mask"], strict=True):
                true, marked = read_mask(folder / mask), read_mask(out / learned[image])
                scores.append(
                    {
                        "energy_in_mask": metrics.energy_in_mask(marked, true).item(),
                        "iou": metrics.iou(marked, true).item(),
                        "area": true.mean().item(),
                        "learned_area": marked.mean().item(),
                    }
                )
            rows.append({"name": settings.name, "seed": settings.seed, "split": split, **pd.DataFrame(scores).mean()})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    directory = parser.parse_args().study
    runs = [load_run(path.parent) for path in sorted(directory.glob("runs/**/model.safetensors"))]
    learned = [run for run in runs if isinstance(run.settings.method, ALIGN) and run.settings.method.masks == "learned"]
    table = pd.concat([agreement(run) for run in learned], ignore_index=True)
    table.to_csv(directory / "masks.csv", index=False)
    print(table.drop(columns="seed").groupby(["name", "split"]).agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
