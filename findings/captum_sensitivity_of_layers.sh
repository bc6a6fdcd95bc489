#!/usr/bin/env bash
# Expectation: captum's sensitivity_max takes what captum's own methods give. It is the largest change of an explanation within a
# small ball, so that the number of samples moves it only a little.
# What happens: it goes through the explanation as through a tuple. Methods of layers (LayerGradCam and others) give one bare
# tensor, whose *images* are then taken for separate inputs. For one image, a map of one channel is compared with itself across all
# samples: the result is √n times too large, n being n_perturb_samples. For two images and more it raises.
# Why it matters: maps are often scored image by image, and a table that sets Grad-CAM beside input gradients (a tuple, scored
# rightly) calls it 2 to 9 times as unstable as it is.
# Instead: wrap the method, `lambda inputs, **k: (cam.attribute(inputs, **k),)`, or interpolate to a tuple; more images than one at
# a time raise, at least.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check captum==0.9.0 torch==2.13.0

venv/bin/python - <<'PYTHON'
import math
import warnings
from importlib.metadata import version

import torch
from captum.attr import LayerGradCam
from captum.metrics import sensitivity_max
from torch import nn

warnings.filterwarnings("ignore")
print("captum", version("captum"), "torch", torch.__version__)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
).eval()
cam = LayerGradCam(model, model[0])
images = torch.rand(2, 3, 8, 8)


def in_a_tuple(inputs, target):
    return (cam.attribute(inputs, target=target),)


def score(explain, images, samples):
    torch.manual_seed(0)
    return sensitivity_max(explain, images, target=0, n_perturb_samples=samples)


for samples in (5, 20, 80):
    bare, right = score(cam.attribute, images[:1], samples).item(), score(in_a_tuple, images[:1], samples).item()
    print(f"{samples} samples: {bare:.3f}, in a tuple {right:.3f}, {bare / right:.3f} times as much; √n = {math.sqrt(samples):.3f}")
    assert math.isclose(bare / right, math.sqrt(samples), rel_tol=1e-4), "a bare tensor is scored otherwise now"

try:
    score(cam.attribute, images, 5)
except RuntimeError as error:
    print("two images:", error)
else:
    raise AssertionError("two images are scored now")
print("two images, in a tuple:", [round(value, 3) for value in score(in_a_tuple, images, 5).tolist()])
PYTHON
