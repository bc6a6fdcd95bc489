#!/usr/bin/env bash
# Expectation: a mask exported by supervision as COCO is the same mask for pycocotools.
# What happens: supervision writes a polygon through the centres of the border's pixels, pycocotools fills up to the line: the
# right column and the lower row are missing, a quarter of a lesion of 56 pixels, while `area` still says 56. A stroke one
# pixel wide gets `segmentation: []`. supervision's own import fills the border in and hides it.
# Why it matters: small evidence shrinks and moves up and left by half a pixel, thin evidence is lost.
# Instead: replace each segmentation by pycocotools' encode() of the mask before training with other tools.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check supervision==0.31.2 pycocotools==2.0.11 Pillow==13.0.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
import supervision as sv
from PIL import Image
from pycocotools import mask as coco_mask

print("supervision", version("supervision"), "pycocotools", version("pycocotools"))

HEIGHT, WIDTH = 20, 30
lesion, whole, stroke = np.zeros((3, HEIGHT, WIDTH), bool)
lesion[5:12, 10:18] = True
whole[:] = True
stroke[5, 3:20] = True
Path("images").mkdir()

found = {}
for name, mask in {"lesion": lesion, "whole": whole, "stroke": stroke}.items():
    Image.new("RGB", (WIDTH, HEIGHT)).save(f"images/{name}.png")
    rows, columns = np.nonzero(mask)
    box = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], float)
    detections = sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([0]))
    path = f"images/{name}.png"
    sv.DetectionDataset(classes=["lesion"], images=[path], annotations={path: detections}).as_coco(
        annotations_path=f"{name}.json"
    )
    (annotation,) = json.loads(Path(f"{name}.json").read_text())["annotations"]
    polygons = annotation["segmentation"]
    if polygons:
        read = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, HEIGHT, WIDTH))).astype(bool)
    else:
        read = np.zeros_like(mask)
    lost = np.argwhere(mask & ~read)
    found[name] = int(mask.sum()), int(read.sum())
    print(f"{name}: {mask.sum()} pixels, area {annotation['area']:g}, segmentation {polygons}; pycocotools reads {read.sum()}; "
          f"lost rows {np.unique(lost[:, 0]).tolist()[-1:]} and columns {np.unique(lost[:, 1]).tolist()[-1:]} whole")

assert found == {"lesion": (56, 42), "whole": (600, 551), "stroke": (17, 0)}, "the export has changed"
PYTHON
