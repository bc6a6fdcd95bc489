#!/usr/bin/env bash
# Expectation: a mask exported by datumaro in KITTI's segmentation format and imported again by datumaro is the same mask.
# What happens: the export gives the first label of the list the number and colour of what has no annotation, too. A lesion of
# 56 pixels comes back as a "lesion" of all 600 pixels of the image; a second label's mask comes back right, beside a first one
# that covers the rest. VOC, Cityscapes and CamVid put a background before the list, and keep the mask.
# Why it matters: as evidence, a mask of the whole image says that it does not matter where the model looks.
# Instead: make "background" the first category before this export, and leave it out after the import.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check datumaro==1.13.12 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

print("datumaro", version("datumaro"))

lesion, ruler = np.zeros((2, 20, 30), np.uint8)
lesion[5:12, 2:10] = 1
ruler[8:16, 14:24] = 1


def round_trip(name, kind, categories):
    """Pixels by label, after export and import."""
    annotations = [Mask(mask, label=categories.index(label)) for label, mask in [("lesion", lesion), ("ruler", ruler)]]
    picture = Image.from_numpy(np.zeros((20, 30, 3), np.uint8))
    item = DatasetItem("image", subset="train", media=picture, annotations=annotations)
    Dataset.from_iterable([item], categories=categories).export(name, kind, save_media=True)
    back = Dataset.import_from(name, kind)
    labels = [category.name for category in next(iter(back.categories().values()))]
    return {labels[a.label]: int(a.image.sum()) for item in back for a in item.annotations}


print("exported: lesion", int(lesion.sum()), "ruler", int(ruler.sum()))
found = {}
for kind in ("kitti_segmentation", "voc_segmentation", "cityscapes", "camvid"):
    found[kind] = round_trip(kind, kind, ["lesion", "ruler"])
    print(f"{kind}: {found[kind]}")
with_background = round_trip("kitti_with", "kitti_segmentation", ["background", "lesion", "ruler"])
print("kitti_segmentation, with background as the first category:", with_background)

assert found["kitti_segmentation"] == {"lesion": 520, "ruler": 80}, "the first label is no longer the background"
assert found["voc_segmentation"] == found["cityscapes"] == found["camvid"] == {"lesion": 56, "ruler": 80}
assert (with_background["lesion"], with_background["ruler"]) == (56, 80)
PYTHON
