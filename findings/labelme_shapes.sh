#!/usr/bin/env bash
# Expectation: LabelMe's shape_to_mask() makes each shape of its JSON files the mask that the annotator drew.
# What happens: it raises ValueError for shapes of type "mask", the ones that its AI tools make; shapes_to_label() of the same
# module takes them. A line of 18 pixels becomes a band of 180, a point a disk of 97, since lines are 10 wide and points have a
# radius of 5, whatever the image's size; shapes_to_label() gives no way to change that. What comes later in the file covers
# what was drawn before, so that a lesion drawn before its organ is gone.
# Why it matters: on small images a point marks a tenth of the picture as evidence, and small objects inside large ones vanish.
# Instead: shapes_to_label() with one shape at a time; draw lines and points yourself; keep one mask per object.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check labelme==6.3.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from labelme import utils

print("labelme", version("labelme"))

SIZE = (32, 32)
VALUES = {"_background_": 0, "organ": 1, "lesion": 2}


def shape(kind, points, label="lesion", mask=None):
    return {"label": label, "points": points, "shape_type": kind, "mask": mask, "group_id": None, "flags": {}}


crop = np.ones((7, 8), bool)
crop[2:4, 2:4] = False
drawn = shape("mask", [[10, 5], [17, 11]], mask=crop)
try:
    utils.shape_to_mask(SIZE, drawn["points"], "mask")
    refused = "no error"
except ValueError as error:
    refused = f"ValueError: {error}"
label_map = utils.shapes_to_label(SIZE, [drawn], VALUES)[0]
print(f"a mask of {crop.sum()} pixels: shape_to_mask {refused}; shapes_to_label {(label_map == 2).sum()} pixels")

line = int((utils.shapes_to_label(SIZE, [shape("line", [[3, 15], [20, 15]])], VALUES)[0] == 2).sum())
point = int((utils.shapes_to_label(SIZE, [shape("point", [[15, 15]])], VALUES)[0] == 2).sum())
print(f"a line of 18 pixels: {line}; a point: {point}, of {SIZE[0] * SIZE[1]}")

organ = shape("rectangle", [[5, 5], [25, 25]], "organ")
lesion = shape("rectangle", [[10, 10], [14, 14]])
first, last = (
    int((utils.shapes_to_label(SIZE, shapes, VALUES)[0] == 2).sum()) for shapes in ([lesion, organ], [organ, lesion])
)
print(f"a lesion of 25 pixels, drawn before its organ: {first}; after it: {last}")

assert refused.startswith("ValueError") and (label_map == 2).sum() == crop.sum(), "masks are read differently now"
assert (line, point) == (180, 97)
assert (first, last) == (0, 25)
PYTHON
