#!/usr/bin/env bash
# Expectation: quantus' ROAD takes the images that it is made for, of three channels, with a map for each image.
# What happens: the map is spread over the channels and its values are ranked, so that places run from 0 to 3 · H · W; the imputation
# that gets them keeps a plane of H · W. Nearly every colour image ends in an IndexError, with a map of one channel or of three.
# Grey images work.
# Why it matters: ROAD is the measure that is recommended against artefacts of removal, and photographs are what it is wanted for; that
# the examples run on digits does not show it.
# Instead: pytorch-grad-cam's ROADMostRelevantFirst and ROADLeastRelevantFirst, which take colour images.
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

random = np.random.default_rng(0)
torch.manual_seed(0)
images = random.normal(size=(6, 3, 8, 8)).astype(np.float32)
maps = random.uniform(size=(6, 1, 8, 8)).astype(np.float32)


def road(images, maps):
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].size, 2)).eval()
    metric = quantus.ROAD(percentages=[10, 50, 90], disable_warnings=True)
    try:
        return {share: float(score) for share, score in metric(model, images, np.zeros(6, int), maps).items()}
    except IndexError as error:
        return f"IndexError: {error}"


grey, colour, colour_maps = road(images[:, :1], maps), road(images, maps), road(images, maps.repeat(3, 1))
print("grey images:", grey)
print("colour images:", colour)
print("colour images, maps of three channels:", colour_maps)

assert isinstance(grey, dict)
assert "out of bounds" in colour and "out of bounds" in colour_maps, "colour images are taken now"
PYTHON
