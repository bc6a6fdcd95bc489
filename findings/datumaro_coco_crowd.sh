#!/usr/bin/env bash
# Expectation: masks exported by datumaro as COCO instances, judged against themselves by pycocotools, have average precision 1.
# What happens: datumaro marks every annotation that has a mask, not a polygon, as iscrowd 1. pycocotools leaves crowds out of
# the truth, so that nothing is left to find and every figure is −1, also that of a prediction equal to the truth.
# Why it matters: the objects are ignored, in evaluation and by loaders that skip crowds in training, and −1 is averaged into
# tables where it reads as a bad score.
# Instead: set iscrowd to 0 in the exported file, as the second half of this script does.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check datumaro==1.13.12 pycocotools==2.0.11 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("datumaro", version("datumaro"), "pycocotools", version("pycocotools"))

mask = np.zeros((20, 30), np.uint8)
mask[5:12, 10:18] = 1
picture = Image.from_numpy(np.zeros((20, 30, 3), np.uint8))
item = DatasetItem("image", subset="train", media=picture, annotations=[Mask(mask, label=0)])
Dataset.from_iterable([item], categories=["lesion"]).export("out", "coco_instances", save_media=True)
(path,) = Path("out").rglob("*.json")


def precision_of_the_truth(path):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        same = [
            {"image_id": a["image_id"], "category_id": a["category_id"], "segmentation": truth.annToRLE(a), "score": 1.0}
            for a in truth.dataset["annotations"]
        ]
        judge = COCOeval(truth, truth.loadRes(same), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


content = json.loads(path.read_text())
crowds = [annotation["iscrowd"] for annotation in content["annotations"]]
as_exported = precision_of_the_truth(path)
print("iscrowd:", crowds, "average precision of the truth against itself:", as_exported)

for annotation in content["annotations"]:
    annotation["iscrowd"] = 0
Path("changed.json").write_text(json.dumps(content))
changed = precision_of_the_truth("changed.json")
print("with iscrowd 0:", changed)

assert crowds == [1] and as_exported == -1, "masks are no longer exported as crowds"
assert abs(changed - 1) < 1e-6
PYTHON
