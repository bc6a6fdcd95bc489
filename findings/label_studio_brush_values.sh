#!/usr/bin/env bash
# Expectation: a brush mask that label-studio-sdk's own helpers wrote, exported as BRUSH_TO_PNG, is a picture of 0 and 255, and
# the SDK's own image2rle() reads it back.
# What happens: the PNG holds whatever the helper put into the alpha channel: 1 from mask2rle() of a 0/1 mask, 100 from
# contour2rle(). image2rle() takes what is above 128, so that both come back empty. contour2rle() also draws on a canvas of
# width × height rows and columns, so that in an image that is not square even the shape is torn apart.
# Why it matters: pre-annotations of a model, corrected by people and exported again, lose their masks or train on stripes.
# Instead: read such PNGs as `> 0`; give mask2rle() 0/255; do not use contour2rle() for images that are not square.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check label-studio-sdk==2.1.2 numpy==2.2.6 Pillow==13.0.0

venv/bin/python - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from label_studio_sdk.converter import Converter, brush
from PIL import Image

print("label-studio-sdk", version("label-studio-sdk"))

HEIGHT, WIDTH = 20, 30
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image"><Label value="lesion"/></BrushLabels></View>"""


def exported(name, rle):
    """The mask as BRUSH_TO_PNG writes it, and as image2rle reads that file."""
    result = {
        "id": "a", "type": "brushlabels", "from_name": "tag", "to_name": "image",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
        "value": {"format": "rle", "rle": rle, "brushlabels": ["lesion"]},
    }
    task = {"id": 1, "data": {"image": "image.png"}, "annotations": [{"id": 1, "completed_by": {"id": 1}, "result": [result]}]}
    name = name.replace("/", " ")
    Path(f"{name}.json").write_text(json.dumps([task]))
    Path(name).mkdir()
    Converter(CONFIG, ".").convert(f"{name}.json", name, "BRUSH_TO_PNG", is_dir=False)
    (png,) = Path(name).rglob("*.png")
    back, width, height = brush.image2rle(png)
    return np.array(Image.open(png)), brush.decode_rle(back).reshape(height, width, 4)[:, :, 3]


mask = np.zeros((HEIGHT, WIDTH), np.uint8)
mask[5:15, 10:25] = 1
contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
print("the mask: 150 pixels, rows 5 to 14, columns 10 to 24")
found = {}
for name, rle in {
    "mask2rle of 0/255": brush.mask2rle(mask * 255),
    "mask2rle of 0/1": brush.mask2rle(mask),
    "contour2rle": brush.contour2rle(contours, 0, WIDTH, HEIGHT),
}.items():
    png, back = exported(name, rle)
    rows, columns = np.nonzero(png.any(1))[0], np.nonzero(png.any(0))[0]
    found[name] = (int(png.max()), int((png > 0).sum()), int((back > 0).sum()))
    print(f"{name}: PNG of 0 and {png.max()}, {(png > 0).sum()} pixels in rows {rows[0]} to {rows[-1]}, columns {columns[0]} "
          f"to {columns[-1]}; image2rle reads {(back > 0).sum()} pixels")

assert found["mask2rle of 0/255"] == (255, 150, 150)
assert found["mask2rle of 0/1"] == (1, 150, 0), "the exported value or the threshold has changed"
assert found["contour2rle"][0] == 100 and found["contour2rle"][1] != 150, "contour2rle has changed"
PYTHON
