#!/usr/bin/env bash
# Expectation: a colour image of 16 bits in a column of Hugging Face datasets comes back as it was, or is refused.
# What happens: with three channels each number is kept modulo 256: 300 comes back as 44, 1000 as 232, 256 as 0. The same array
# with one channel comes back exactly, and three channels of floats are refused. A warning names the types, not that numbers change.
# Why it matters: a microscope's or a camera's 12 bits become bands of noise, and ids of classes in colours become other
# classes; both are saved to disk like this, and training goes on.
# Instead: scale to bytes before the data set is built, keep one column a channel, or store paths of files.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check datasets==5.2.0 Pillow==13.0.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import datasets
import numpy as np

print(*(f"{name} {version(name)}" for name in ("datasets", "Pillow", "numpy")))

datasets.disable_progress_bars()
grey = np.array([[0, 255, 256], [300, 1000, 4095]], np.uint16)
colour = np.repeat(grey[..., None], 3, axis=2)
features = datasets.Features({"image": datasets.Image()})


def back(image):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        datasets.Dataset.from_dict({"image": [image]}, features=features).save_to_disk("saved")
    return np.array(datasets.load_from_disk("saved")[0]["image"]), [str(each.message) for each in warned]


print("given:         ", grey.ravel().tolist())
one, warned_of_one = back(grey)
print("one channel:   ", one.ravel().tolist(), one.dtype, warned_of_one)
three, warned_of_three = back(colour)
print("three channels:", three[..., 0].ravel().tolist(), three.dtype, warned_of_three)
try:
    back((colour / 4095).astype(np.float32))
    refused = False
except TypeError as error:
    refused = True
    print("floats:         refused:", error)

assert (one == grey).all() and not warned_of_one
assert (three == colour % 256).all() and (three != colour).any()
assert len(warned_of_three) == 1 and "Downcasting" in warned_of_three[0] and refused
PYTHON
