#!/usr/bin/env bash
# Expectation: quantus' AttributionLocalisation(weighted=True) is μ_w of Kohlbrenner et al.: the share of the positive attribution in
# the object times (pixels of the image / pixels of the object). It is a matter of one image and its map.
# What happens: the share is multiplied by pixels of the object / pixels of all images of the batch but the first two, which is meant
# to be the image's size. An image's score falls with the images that stand beside it, and is infinite in a batch of one or two.
# Small objects are scored down, where the paper scores them up. max_size, which warns of objects that fill the image, compares the
# same quotient.
# Why it matters: the last batch of a test set is smaller and counts more; figures of two batch sizes cannot be compared.
# Instead: weighted=False, whose figures are right, and the weight by hand: score * mask[0].size / mask.sum().
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

images, labels = np.zeros((6, 3, 8, 8)), np.zeros(6, int)
masks = np.zeros((6, 1, 8, 8), bool)
masks[:, :, 2:4, 2:4] = True
maps = np.where(masks, 1.0, 0.5)  # 4 of 34 lie in the mask, on 4 of 64 pixels: as defined, weighted 4 / 34 * 64 / 4


def first(weighted, count):
    """The score of the first image, in a batch of so many equal ones."""
    metric = quantus.AttributionLocalisation(weighted=weighted, disable_warnings=True)
    part = slice(count)
    scores = metric(model=None, x_batch=images[part], y_batch=labels[part], a_batch=maps[part], s_batch=masks[part])
    return float(scores[0])


plain = {count: round(first(False, count), 4) for count in (1, 2, 3, 4, 6)}
weighted = {count: round(first(True, count), 6) for count in (1, 2, 3, 4, 6)}
print("the first image's score, by images in the batch:", plain)
print("weighted:", weighted, "; as defined:", round(64 / 34, 4))

assert set(plain.values()) == {round(4 / 34, 4)}
assert weighted[1] == weighted[2] == float("inf"), "small batches have a score now"
assert np.isclose(weighted[3] / weighted[6], 4, rtol=0.01), "the score does not depend on the batch now"
PYTHON
