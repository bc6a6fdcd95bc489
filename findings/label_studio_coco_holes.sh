#!/usr/bin/env bash
# Expectation: label-studio-sdk's BRUSH_TO_COCO describes the brush mask: its hole stays a hole, its thin stroke a stroke.
# What happens: only outer contours are written, so that a hole is filled; the polygon goes through pixel centres, and
# pycocotools reads it without the right and lower edge; a stroke one pixel wide is left out, and
# with it the *image*, if it has no other mask.
# Why it matters: rings and vessels are masks like that; evidence is then marked where the annotator left it out, and images
# leave the training set without a word.
# Instead: export BRUSH_TO_NUMPY or BRUSH_TO_PNG, or decode the brush's own RLE, and take what is above 0.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check label-studio-sdk==2.1.2 numpy==2.2.6 pycocotools==2.0.11

venv/bin/python - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter, brush
from pycocotools.coco import COCO

print("label-studio-sdk", version("label-studio-sdk"), "pycocotools", version("pycocotools"))

HEIGHT, WIDTH = 20, 30
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image"><Label value="lesion"/></BrushLabels></View>"""

ring = np.zeros((HEIGHT, WIDTH), np.uint8)
ring[5:15, 10:25] = 255
ring[7:13, 13:22] = 0
vessel = np.zeros((HEIGHT, WIDTH), np.uint8)
vessel[5, 3:20] = 255

tasks = []
for number, mask in enumerate([ring, vessel], 1):
    result = {
        "id": "a", "type": "brushlabels", "from_name": "tag", "to_name": "image",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
        "value": {"format": "rle", "rle": brush.mask2rle(mask), "brushlabels": ["lesion"]},
    }
    annotation = {"id": number, "completed_by": {"id": 1}, "result": [result]}
    tasks.append({"id": number, "data": {"image": f"image{number}.png"}, "annotations": [annotation]})
Path("tasks.json").write_text(json.dumps(tasks))
Converter(CONFIG, ".").convert("tasks.json", "out", "BRUSH_TO_COCO", is_dir=False)
(path,) = Path("out").rglob("*.json")
coco = COCO(str(path))

print("tasks: 2; images in the export:", len(coco.dataset["images"]), "annotations:", len(coco.dataset["annotations"]))
(annotation,) = coco.dataset["annotations"]
read = coco.annToMask(annotation)
print("the ring has", int((ring > 0).sum()), "pixels and a hole of 54; `area` says", annotation["area"], "and its polygon is",
      annotation["segmentation"])
print("pycocotools reads", int(read.sum()), "pixels,", int(read[7:13, 13:22].sum()), "of them in the hole")

assert len(coco.dataset["images"]) == 1, "the stroke's image is now kept"
assert read[7:13, 13:22].all(), "the hole is now kept"
assert not (read.astype(bool) == (ring > 0)).all()
PYTHON
