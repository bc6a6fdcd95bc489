#!/usr/bin/env bash
# Expectation: a mask exported by datumaro as Open Images is there when datumaro imports the folder.
# What happens: the mask's file is written, and the import leaves it out with a warning that the *image* is missing, which lies
# beside it. It asks whether the image's size is known already, and does not look. If the image has a box, too, anywhere, the
# size was looked up for that, and the same mask is read.
# Why it matters: which images have evidence then depends on which have boxes, and a data set of masks alone has none.
# Instead: write a box for each mask into the export, or read the folder masks/ yourself.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check datumaro==1.13.12 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Bbox, Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

print("datumaro", version("datumaro"))

mask = np.zeros((20, 30), np.uint8)
mask[5:12, 10:18] = 1

found = {}
for name, annotations in {
    "mask": [Mask(mask, label=0)],
    "mask_and_box": [Mask(mask, label=0), Bbox(1, 1, 2, 2, label=0)],
}.items():
    picture = Image.from_numpy(np.zeros((20, 30, 3), np.uint8))
    item = DatasetItem("image", subset="train", media=picture, annotations=annotations)
    Dataset.from_iterable([item], categories=["lesion"]).export(name, "open_images", save_media=True)
    files = [path.name for path in Path(name).rglob("*") if path.suffix in (".png", ".jpg")]
    (back,) = Dataset.import_from(name, "open_images")
    found[name] = [int(a.image.sum()) for a in back.annotations if isinstance(a, Mask)]
    print(f"{name}: {len(files)} files, image and mask; size of the image {back.media.size}; masks read back: {found[name]}")

assert found["mask"] == [], "masks without boxes are now read"
assert found["mask_and_box"] == [56]
PYTHON
