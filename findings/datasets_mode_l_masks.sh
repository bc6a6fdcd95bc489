#!/usr/bin/env bash
# Expectation: a mask column of Hugging Face datasets declared as Image(mode="L") gives grey masks, scaled to 0 to 255 if need be.
# What happens: 16-bit numbers above 255 all become 255, so that instances 256 and 1000 are one with 255; a soft map of 0 to 1
# becomes 0 wherever it is below 1. Nothing is raised; arrays given to from_dict take the same way.
# Why it matters: mode="L" is what one writes to be safe from palettes and colours, and it empties a column of saliency maps.
# Instead: leave mode out for masks that are not 8 bits (or take mode="I" or "F"), and convert after loading.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check datasets==5.2.0 Pillow==13.0.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from datasets import Dataset, Features, Image
from PIL import Image as Pillow

print("datasets", version("datasets"), "Pillow", version("Pillow"))

instances = np.array([[0, 1, 255], [256, 1000, 65535]], np.uint16)
soft = np.array([[0.0, 0.5, 1.0], [0.2, 0.8, 0.99]], np.float32)
Pillow.fromarray(instances).save("instances.png")
Pillow.fromarray(soft).save("soft.tiff")


def loaded(source, mode):
    row = Dataset.from_dict({"mask": [source]}, features=Features({"mask": Image(mode=mode)}))[0]
    return np.array(row["mask"])


found = {}
for name, source, values in [
    ("instances.png", "instances.png", instances), ("soft.tiff", "soft.tiff", soft), ("soft array", soft, soft)
]:
    plain, grey = loaded(source, None), loaded(source, "L")
    found[name] = grey.tolist()
    print(f"{name}: without a mode {plain.ravel().round(2)}, with mode='L' {grey.ravel()}")
    assert np.allclose(plain, values)

assert found["instances.png"] == [[0, 1, 255], [255, 255, 255]], "16-bit masks are no longer clipped"
assert found["soft.tiff"] == found["soft array"] == [[0, 0, 1], [0, 0, 0]], "soft masks are no longer cut off"
PYTHON
