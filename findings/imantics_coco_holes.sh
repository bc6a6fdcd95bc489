#!/usr/bin/env bash
# Expectation: what imantics writes as COCO is the mask that it was given; its own polygons are turned back into it exactly.
# What happens: the outline of a hole is written as one more polygon, which COCO adds to the others: pycocotools fills
# the hole; a stroke one pixel wide becomes a line of two points, on which pycocotools raises TypeError, as it takes four
# numbers for a box; a dot becomes one point, and "input type is not supported"..
# Why it matters: one dot ends the loading of a whole data set; a filled hole goes unseen.
# Instead: write pycocotools' encode() of each mask as the segmentation.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check imantics==0.1.12 pycocotools==2.0.11 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from imantics import Annotation, Category, Image, Mask
from pycocotools import mask as coco_mask

print("imantics", version("imantics"), "pycocotools", version("pycocotools"))

HEIGHT, WIDTH = 20, 30
ring, stroke, dot = np.zeros((3, HEIGHT, WIDTH), bool)
ring[5:15, 10:25] = True
ring[7:13, 13:22] = False
stroke[5, 3:20] = True
dot[5, 3] = True

found = {}
for name, mask in {"ring": ring, "stroke": stroke, "dot": dot}.items():
    image = Image(image_array=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    image.add(Annotation(image, Category("lesion"), mask=Mask(mask)))
    (annotation,) = image.coco()["annotations"]
    own = int(Mask(mask).polygons().mask(WIDTH, HEIGHT).array.sum())
    try:
        read = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], HEIGHT, WIDTH)))
        found[name] = f"{read.sum()} pixels, {read[7:13, 13:22].sum()} of 54 in the hole"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
    print(f"{name}: {mask.sum()} pixels, area {annotation['area']}, iscrowd {annotation['iscrowd']}, imantics reads {own}, "
          f"segmentation {annotation['segmentation']}; pycocotools: {found[name]}")

assert found["ring"].endswith("54 of 54 in the hole"), "holes are now kept"
assert found["stroke"].startswith("TypeError") and "not supported" in found["dot"]
PYTHON
