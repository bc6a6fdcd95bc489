#!/usr/bin/env bash
# Expectation: pycocotools' encode() takes any value but 0 as inside, so that decode() gives back the same region.
# What happens: encode() starts a new run wherever the value changes, and decode() alternates 0 and 1 from run to run. A mask
# with two values other than 0 (two organs, an anti-aliased border) comes back with parts turned inside out. Nothing is raised.
# Why it matters: area, IoU and the box are then of another region than the annotator drew. Masks of 0 and 1, or 0 and 255, are
# safe, so that a test with one of these does not show it.
# Instead: encode `(mask > 0)`, or one mask per label, as uint8 in Fortran order.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from pycocotools import mask as coco

print("pycocotools", version("pycocotools"))

labels = np.zeros((6, 8), np.uint8, order="F")
labels[1:5, 1:7] = 1  # an organ
labels[3:5, 3:5] = 2  # a lesion inside it, at its lower edge
print("labels:", labels, sep="\n")

decoded = coco.decode(coco.encode(labels))
print("decode(encode(labels)):", decoded, sep="\n")
print("pixels inside:", int((labels > 0).sum()), "before,", int(decoded.sum()), "after; background that became inside:",
      int(decoded[labels == 0].sum()))

binary = np.asfortranarray((labels > 0).astype(np.uint8))
again = coco.decode(coco.encode(binary))
print("made binary first: equal", bool((again == binary).all()))

assert ((decoded > 0) != (labels > 0)).any(), "labels other than 0 and 1 are now kept"
assert (again == binary).all()
PYTHON
