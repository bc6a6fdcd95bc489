"""Data to choose by: the images of a folder with gaze that are not its test split, and the same with wider masks.

In `OUT_narrow` and `OUT_wide` every third training image and the validation images are the test split. The masks are
those of FOLDER, and their fourth root, which covers more of an image.

    python benchmarks/gaze_without_test.py data/osie_gaze data/osie_dev
"""

import argparse
import os
from pathlib import Path
from statistics import mean

import pandas as pd
from PIL import Image, ImageStat

EXPONENTS = {"narrow": 1.0, "wide": 0.25}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.folder / "labels.csv").query("split != 'test'").reset_index(drop=True)
    table["split"] = ["test" if split == "val" or row % 3 == 0 else "train" for row, split in enumerate(table["split"])]
    for name, exponent in EXPONENTS.items():
        out = arguments.out.with_name(f"{arguments.out.name}_{name}")
        lookup = [round(255 * (value / 255) ** exponent) for value in range(256)]
        masks = [f"masks/{Path(mask).name}" for mask in table["mask"]]
        coverage = []
        (out / "masks").mkdir(parents=True, exist_ok=True)
        for source, mask in zip(table["mask"], masks, strict=True):
            with Image.open(arguments.folder / source) as opened:
                saliency = opened.convert("L").point(lookup)
            saliency.save(out / mask)
            coverage.append(ImageStat.Stat(saliency).mean[0] / 255)
        images = [os.path.relpath(arguments.folder / image, out) for image in table["image"]]
        table.assign(image=images, mask=masks)[["image", "label", "mask", "split"]].to_csv(
            out / "labels.csv", index=False
        )
        print(f"{out}: the masks cover {mean(coverage):.1%} of an image")


if __name__ == "__main__":
    main()
