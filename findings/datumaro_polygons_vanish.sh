#!/usr/bin/env bash
# Expectation: datumaro exports a data set of polygons as VOC, Cityscapes, CamVid or KITTI segmentation: it has all that it takes
# to draw them, or it says that it cannot.
# What happens: the images are written, the masks are not, and nothing is raised; VOC's folder cannot even be imported again.
# Why it matters: an image without a mask is a valid image, so that training on evidence goes on with none.
# Instead: dataset.transform("polygons_to_masks") first, and count the masks after an export.
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
from datumaro.components.annotation import Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

print("datumaro", version("datumaro"))


def dataset(annotation):
    picture = Image.from_numpy(np.zeros((20, 30, 3), np.uint8))
    item = DatasetItem("image", subset="train", media=picture, annotations=[annotation])
    return Dataset.from_iterable([item], categories=["background", "lesion"])


def lesion_after(data, name, kind):
    """Pixels of the lesion's mask after export and import, or what the import raised."""
    data.export(name, kind, save_media=True)
    try:
        back = Dataset.import_from(name, kind)
        labels = [category.name for category in next(iter(back.categories().values()))]
        return sum(int(a.image.sum()) for item in back for a in item.annotations
                   if hasattr(a, "image") and labels[a.label] == "lesion")
    except Exception as error:
        return type(error).__name__


polygon = Polygon([10, 5, 18, 5, 18, 12, 10, 12], label=1)
as_polygon, as_mask = {}, {}
for kind in ("voc_segmentation", "cityscapes", "camvid", "kitti_segmentation"):
    as_polygon[kind] = lesion_after(dataset(polygon), f"polygon_{kind}", kind)
    files = len([p for p in Path(f"polygon_{kind}").rglob("*.png") if "image_2" not in str(p) and "leftImg8bit" not in str(p)])
    as_mask[kind] = lesion_after(dataset(polygon).transform("polygons_to_masks"), f"mask_{kind}", kind)
    print(f"{kind}: {files} mask files, pixels read back: {as_polygon[kind]}; after polygons_to_masks: {as_mask[kind]}")

assert not any(isinstance(pixels, int) and pixels for pixels in as_polygon.values()), "polygons are now drawn"
assert all(isinstance(pixels, int) and pixels > 40 for pixels in as_mask.values())
PYTHON
