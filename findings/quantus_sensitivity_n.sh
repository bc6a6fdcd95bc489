#!/usr/bin/env bash
# Expectation: quantus' SensitivityN is Sensitivity-n of Ancona et al.: over subsets of n features, the correlation of the sum of
# their attributions with the fall of the output when they are removed. For a linear model and weight × input it is 1 for every n.
# What happens: in step k it correlates the attributions of step k alone with the fall after *all* steps up to k, over images.
# The exact explanation gets 1 in the first step and 0.03 in the twelfth. And only images of the first batch count: in place of the others' maps, noise gives the
# same figures, and the number of images that a paper states is not the number that was looked at.
# Why it matters: a ceiling of 1 is not reached by anything, differences between methods are those of a few dozen images.
# Instead: one call whose batch_size is the number of images at least, only for ranking; or captum's infidelity, or a loop of
# one's own over random subsets.
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

warnings.filterwarnings("ignore")
print("quantus", version("quantus"))

random = np.random.default_rng(0)
weight = random.normal(size=(1, 1, 8, 8)).astype(np.float32)
images = random.uniform(size=(100, 1, 8, 8)).astype(np.float32)
images[:, :, 0, 0] = 0  # "black", which removed pixels become, is the lowest value
linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2, bias=False))
with torch.no_grad():
    linear[1].weight.copy_(torch.from_numpy(np.concatenate([weight.reshape(1, -1), np.zeros((1, 64), np.float32)])))
exact = weight * images


def sensitivity(maps, images=images, **call):
    metric = quantus.SensitivityN(
        features_in_step=4, n_max_percentage=1.0, abs=False, normalise=False, return_aggregate=False, disable_warnings=True
    )
    labels = np.zeros(len(images), int)
    scores = metric(model=linear.eval(), x_batch=images, y_batch=labels, a_batch=maps, softmax=False, **call)
    return np.round(np.asarray(scores, float), 2)


scores = sensitivity(exact, batch_size=100)
print("exact explanation of a linear model, n = 4, 8, ... 64:", scores.tolist())

order = np.argsort(-exact.reshape(100, -1), axis=1)
sorted_exact = np.take_along_axis(exact.reshape(100, -1), order, 1).reshape(100, 16, 4).sum(2)
fall = sorted_exact.cumsum(1)  # the model is linear and the baseline black
mixed = [np.corrcoef(fall[:, step], sorted_exact[:, step])[0, 1] for step in range(16)]
print("a step's sum with the fall of all steps so far:", np.round(mixed, 2).tolist())

noise = exact.copy()
noise[50:] = random.normal(size=noise[50:].shape)
first, with_noise = sensitivity(exact, batch_size=50), sensitivity(noise, batch_size=50)
print("batches of 50:", first.tolist())
print("noise as the maps of images 51 to 100:", with_noise.tolist())

assert scores[0] == 1 and scores[4:].max() < 0.6, "an exact explanation is scored otherwise now"
assert np.allclose(scores, mixed, atol=0.02), "other sums are correlated now"
assert (first == with_noise).all(), "images after the first batch count now"
PYTHON
