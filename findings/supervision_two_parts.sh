#!/usr/bin/env bash
# Expectation: one object whose mask has two parts, or a hole, is one object in every format that supervision writes.
# What happens: in COCO it becomes a crowd (iscrowd 1), which pycocotools leaves out of the truth: the average precision of such
# a mask against itself is −1. In YOLO and VOC each part becomes an object of its own; a hole makes no difference there.
# Why it matters: an animal behind a tree is two animals in one export and none in the other, so that counts, recall and
# "the model looks at the object" differ by format alone.
# Instead: in COCO set iscrowd to 0 and keep the run lengths; do not write such masks as YOLO or VOC.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check supervision==0.31.2 pycocotools==2.0.11 Pillow==13.0.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import contextlib
import io
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
import supervision as sv
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("supervision", version("supervision"), "pycocotools", version("pycocotools"))

HEIGHT, WIDTH = 20, 30
parts, ring = np.zeros((2, HEIGHT, WIDTH), bool)
parts[2:6, 2:8] = parts[10:16, 12:20] = True
ring[5:15, 10:25] = True
ring[7:13, 13:22] = False


def precision_of_the_truth(path):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        same = [
            {"image_id": a["image_id"], "category_id": a["category_id"], "segmentation": truth.annToRLE(a), "score": 1.0}
            for a in truth.dataset["annotations"]
        ]
        judge = COCOeval(truth, truth.loadRes(same), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


found = {}
for name, mask in {"two parts": parts, "a hole": ring}.items():
    folder = Path(name.replace(" ", "_"))
    (folder / "images").mkdir(parents=True)
    path = str(folder / "images" / "image.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    rows, columns = np.nonzero(mask)
    box = np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], float)
    detections = sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([0]))
    data = sv.DetectionDataset(classes=["animal"], images=[path], annotations={path: detections})

    coco, yolo, voc = str(folder / "coco.json"), str(folder / "yolo"), str(folder / "voc")
    data.as_coco(annotations_path=coco)
    annotations = json.loads(Path(coco).read_text())["annotations"]
    data.as_yolo(annotations_directory_path=yolo, data_yaml_path=f"{yolo}.yaml")
    data.as_pascal_voc(annotations_directory_path=voc)
    images = str(folder / "images")
    back = {
        "YOLO": sv.DetectionDataset.from_yolo(images, yolo, f"{yolo}.yaml", force_masks=True),
        "VOC": sv.DetectionDataset.from_pascal_voc(images, voc, force_masks=True),
    }
    objects = {kind: len(next(iter(data))[2]) for kind, data in back.items()}
    found[name] = [a["iscrowd"] for a in annotations], precision_of_the_truth(coco), objects
    print(f"one object with {name}: COCO iscrowd {found[name][0]}, average precision against itself {found[name][1]:g}; "
          f"objects read back: {objects}")

assert found["two parts"] == ([1], -1, {"YOLO": 2, "VOC": 2}), "masks of two parts are exported differently now"
assert found["a hole"][:2] == ([1], -1)
PYTHON
