#!/usr/bin/env bash
# Expectation: pytorch-grad-cam's ROADMostRelevantFirst(percentile=p) in-paints the 100 − p percent of the pixels that the map calls most
# relevant, and ROADLeastRelevantFirst as many of the least relevant; ROADCombined is the mean difference over p = 10, ..., 90.
# What happens: a pixel is kept if it is below the percentile. A class activation map is cut at 0, and where more than p percent of it is
# zero the percentile is 0, no pixel is below it, and the *whole image* is removed. Least relevant first removes all zeros whatever p
# says. Of a map with 62 % zeros, six of nine steps of the first remove everything, and the second never less than 62 %.
# Why it matters: maps are compared by images with different numbers of pixels removed; a small sharp map, which has most zeros,
# is measured by the answer to noise.
# Instead: rank the pixels, ties in random order, and hand over ranks / (H · W) in place of the map.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check grad-cam==1.5.7 numpy==2.4.6 torch==2.15.0 torchvision==0.29.2

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
import torch
from pytorch_grad_cam.metrics.road import ROADLeastRelevantFirst, ROADMostRelevantFirst
from torch import nn

warnings.filterwarnings("ignore")
print("grad-cam", version("grad-cam"))

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).eval()
image = torch.rand(1, 3, 16, 16)
y, x = np.mgrid[:16, :16]
cam = np.clip(1 - np.hypot(y - 5, x - 5) / 5.5, 0, 1)[None].astype(np.float32)
order = np.lexsort((np.random.default_rng(0).random(cam.size), cam.ravel()))
ranks = np.float32(np.argsort(order) / cam.size).reshape(cam.shape)
target = [lambda output: output[0]]
print(f"a map with {(cam == 0).mean():.0%} zeros")


def removed(kind, percentile, cam):
    """The share of the pixels that were in-painted."""
    _, shown = kind(percentile)(image, cam, target, model, return_visualization=True)
    return round(float((shown[0] != image[0]).any(0).float().mean()), 2)


percentiles = (10, 30, 50, 60, 70, 90)
found = {
    (kind.__name__, name): [removed(kind, percentile, map) for percentile in percentiles]
    for kind in (ROADMostRelevantFirst, ROADLeastRelevantFirst)
    for name, map in (("the map", cam), ("its ranks", ranks))
}
print("removed, for percentiles", percentiles)
for (kind, name), shares in found.items():
    print(f"  {kind}, {name}: {shares}")

assert found["ROADMostRelevantFirst", "the map"][:4] == [1.0] * 4, "zeros are ranked otherwise now"
assert min(found["ROADLeastRelevantFirst", "the map"]) > 0.6, "zeros are ranked otherwise now"
wanted = [1 - percentile / 100 for percentile in percentiles]
assert all(np.allclose(found[kind, "its ranks"], wanted, atol=0.02) for kind, _ in found)
PYTHON
