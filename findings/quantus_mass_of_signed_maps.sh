#!/usr/bin/env bash
# Expectation: quantus' RelevanceMassAccuracy is the share of a map's mass that lies in the mask: 0 to 1.
# What happens: it divides sums of *signed* values. A map with its only positive pixel in the mask and a negative one outside
# gets −5; one that is wrong can get more than 1; a map of zeros gets NaN, and so does the mean over the test set.
# Why it matters: integrated gradients and input × gradient are signed, and a single such map can turn the mean of a test set;
# near a sum of 0 any score is possible.
# Instead: abs=True, or maps cut at 0 if only support counts; use a median, and report how many maps gave no number.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check quantus==0.6.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
import quantus

warnings.filterwarnings("ignore")
print("quantus", version("quantus"))

masks = np.zeros((4, 1, 8, 8), bool)
masks[:, :, 2:4, 2:4] = True
maps = np.zeros((4, 1, 8, 8))
maps[0, 0, 2, 2], maps[0, 0, 6, 6] = 1, 0.5  # two thirds of its mass in the mask
maps[1, 0, 2, 2], maps[1, 0, 6, 6] = 1, -1.2  # supports with the mask, speaks against with another place
maps[2, 0, 2, 2], maps[2, 0, 6, 6] = -3, 2  # the other way round
names = ["unsigned", "positive in the mask", "negative in the mask", "zeros"]


def scores(**options):
    result = quantus.RelevanceMassAccuracy(disable_warnings=True, **options)(
        model=None, x_batch=np.zeros((4, 3, 8, 8)), y_batch=np.zeros(4, int), a_batch=maps.copy(), s_batch=masks
    )
    return [round(float(score), 3) for score in result]


plain, absolute = scores(), scores(abs=True)
print("RelevanceMassAccuracy:", dict(zip(names, plain)), "mean", np.mean(plain))
print("with abs=True:", dict(zip(names, absolute)))

assert plain[:3] == [0.667, -5.0, 3.0] and np.isnan(plain[3]), "signed maps are scored differently now"
assert all(0 <= score <= 1 for score in absolute[:3])
PYTHON
