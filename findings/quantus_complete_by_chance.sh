#!/usr/bin/env bash
# Expectation: quantus' Completeness says whether an explanation adds up to the difference between the output and that of a baseline.
# What happens: it compares two float32 sums with ==. For a linear model and weight × input, which is exact, the answer depends on the
# order of the additions: about every second image of 64 values is complete, and of 3,072 values one in forty.
# Why it matters: the mean is reported as the share of explanations that are complete, and tells methods apart that are equal; larger
# images make every method less complete.
# Instead: the gap itself, |sum of the map − difference of the outputs|, beside the difference.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check quantus==0.6.0 numpy==2.4.6 torch==2.13.0

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
import quantus
import torch
from torch import nn

warnings.filterwarnings("ignore")
print("quantus", version("quantus"))


def shares(channels, side):
    """Of 200 images: complete by quantus, complete within a hundred-thousandth, and the largest gap."""
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * side**2, 2, bias=False)).eval()
    images = random.uniform(size=(200, channels, side, side)).astype(np.float32)
    weight = model[1].weight[0].detach().numpy().reshape(1, channels, side, side)
    exact, labels = weight * images, np.zeros(200, int)
    metric = quantus.Completeness(abs=False, normalise=False, perturb_baseline=0.0, disable_warnings=True)
    complete = np.mean(metric(model, images, labels, exact, softmax=False))
    gap = np.abs(exact.sum((1, 2, 3)) - model(torch.from_numpy(images))[:, 0].detach().numpy())
    return float(complete), float(np.mean(gap < 1e-5)), float(gap.max())


for channels, side in ((1, 8), (3, 32)):
    complete, close, gap = shares(channels, side)
    print(f"{channels} x {side} x {side}: complete {complete:.3f}, within 1e-5 {close:.3f}, largest gap {gap:.1e}")
    assert complete < 0.6 and close == 1, "an exact explanation is complete now"
PYTHON
