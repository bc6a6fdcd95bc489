"""Whether `lookright data check` finds planted faults: a share of a folder's masks mirrored, swapped or emptied.

Of each kind a third. The list of faults is worst first; the figure is the share of the planted ones among the first
tenth of the images, and what was named there without being planted.

    python benchmarks/planted_faults.py --data pets3 busi_part
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lookright.data.check import Checked, check
from lookright.run_directory.environment import processor

RESULTS = Path(__file__).parent / "results" / "planted_faults.json"
KINDS = ("mirrored", "swapped", "emptied")


def plant(folder: Path, copy: Path, share: float, seed: int) -> dict[str, str]:
    """Copy a folder and spoil some of its masks that are not empty; the kind by image."""
    shutil.copytree(folder, copy)
    table = pd.read_csv(copy / "labels.csv", dtype=str, keep_default_na=False)
    masked = [
        row for row in table.to_dict("records") if row["mask"] and np.asarray(Image.open(copy / row["mask"])).any()
    ]
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(masked))[: max(3, round(share * len(table)))]
    planted: dict[str, str] = {}
    for place, index in enumerate(chosen):
        row, kind = masked[index], KINDS[place % 3]
        path = copy / row["mask"]
        with Image.open(path) as mask:
            size, mode, palette = mask.size, mask.mode, mask.getpalette()
            values = np.array(mask)
        if kind == "mirrored":
            values = values[:, ::-1]
        elif kind == "emptied":
            values = np.full_like(values, 0)
        else:
            other = masked[(index + 1) % len(masked)]
            with Image.open(folder / other["mask"]) as mask:
                values = np.array(mask.resize(size, Image.Resampling.NEAREST))
        spoilt = Image.fromarray(np.ascontiguousarray(values))
        if mode == "P" and palette:
            spoilt.putpalette(palette)
        path.unlink()  # a copy of a link stays the link
        spoilt.save(path)
        planted[row["image"]] = kind
    return planted


def found(checked: Checked, planted: dict[str, str], images: int) -> dict[str, float]:
    """Shares of the planted faults in the first tenth of the list."""
    listed = list(dict.fromkeys(checked.faults["image"]))[: round(0.1 * images)]
    by_kind = {
        kind: np.mean([image in listed for image, each in planted.items() if each == kind]).item() for kind in KINDS
    }
    return {
        "planted": len(planted),
        "found": round(np.mean([image in listed for image in planted]).item(), 3),
        **{kind: round(value, 3) for kind, value in by_kind.items()},
        "named_without_being_planted": sum(image not in planted for image in listed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    results = {"device": f"{os.cpu_count()} cores of {processor()}", "share": arguments.share}
    for folder in arguments.data:
        images = len(pd.read_csv(folder / "labels.csv"))
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as work:
                planted = plant(folder, Path(work) / "copy", arguments.share, seed)
                results[f"{folder.name}, seed {seed}"] = found(check(Path(work) / "copy"), planted, images)
            print(folder.name, seed, results[f"{folder.name}, seed {seed}"], flush=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
