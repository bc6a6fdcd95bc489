#!/usr/bin/env bash
# Expectation: quantus' PointingGame counts a hit where a map's highest pixel lies in the mask, and nothing for a map of zeros.
# What happens: every pixel equal to the highest one counts, and one of them in the mask is enough. A map of zeros (a dead head,
# a ReLU that closed) is a hit, a constant map is a hit, and so is a map clipped at its top, with one pixel of that in the mask.
# An image whose mask is empty is to be left out as NaN, which a boolean array takes for True: it is a hit, wherever the map is high.
# A check refuses zeros only if the *whole batch* is zero. weighted=True raises TypeError on each input.
# Why it matters: the less a method's map says, the better it scores.
# Instead: call a map without a single highest pixel undecided, and count those apart; leave out images without an object yourself.
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

masks = np.zeros((6, 1, 8, 8), bool)
masks[:5, :, 2:4, 2:4] = True  # 4 of 64 pixels
maps = np.zeros((6, 1, 8, 8))
maps[0, 0, 2, 2] = 1  # right
maps[1, 0, 6, 6] = 1  # wrong
maps[2] = 0
maps[3] = 0.3
maps[4, 0, 3:, 3:] = 1  # clipped at 1: one of 25 pixels in the mask
maps[5, 0, 6, 6] = 1  # of an image without an object
names = ["right", "wrong", "zeros", "constant", "clipped", "no object"]


def hits(**options):
    return quantus.PointingGame(disable_warnings=True, **options)(
        model=None, x_batch=np.zeros((6, 3, 8, 8)), y_batch=np.zeros(6, int), a_batch=maps.copy(), s_batch=masks
    )


result = [bool(hit) for hit in hits()]
print("hits:", dict(zip(names, result)))
try:
    hits(weighted=True)
    weighted = "no error"
except TypeError as error:
    weighted = f"TypeError: {error}"
print("weighted=True:", weighted)

assert result == [True, False, True, True, True, True], "ties or empty masks are counted differently now"
assert weighted.startswith("TypeError")
PYTHON
