#!/usr/bin/env bash
# Expectation: LIME's explanation of an image names the superpixels without which the prediction falls.
# What happens: with hide_color=None, its default, a superpixel is hidden by its own mean colour. One of a single colour is then
# not changed at all: where the evidence is flat, every weight is exactly 0, and get_image_and_mask() gives an empty mask.
# Why it matters: sprites of games, diagrams, text on a plain ground and saturated skin marks are flat; the finer the superpixels,
# the more of a photo is. The model seems to look at nothing.
# Instead: hide_color=0, or a colour that the image has nowhere; look at local_exp before trusting an empty mask.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check lime==0.2.0.1 scikit-image==0.26.0 scikit-learn==1.9.1 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import contextlib
import io
from importlib.metadata import version

import numpy as np
from lime.lime_image import LimeImageExplainer

print("lime", version("lime"))

image = np.full((40, 60, 3), 100, np.uint8)
image[10:20, 10:30] = 255  # the evidence: a bright bar, two superpixels
squares = np.arange(40)[:, None] // 10 * 6 + np.arange(60)[None] // 10


def classifier(images):
    """A class that is the brightness of the bar, and its opposite."""
    bright = images[:, 10:20, 10:30].mean((1, 2, 3)) / 255
    return np.stack([1 - bright, bright], 1)


found = {}
for hide_color in (None, 0):
    with contextlib.redirect_stderr(io.StringIO()):
        explanation = LimeImageExplainer(random_state=0).explain_instance(
            image, classifier, labels=(1,), top_labels=None, hide_color=hide_color, num_samples=300,
            segmentation_fn=lambda _: squares, random_seed=0,
        )
    weights = sorted(((float(w), int(s)) for s, w in explanation.local_exp[1]), reverse=True)
    _, mask = explanation.get_image_and_mask(1, positive_only=True, num_features=2)
    found[hide_color] = weights, int((mask > 0).sum()), int((mask[10:20, 10:30] > 0).sum())
    print(f"hide_color={hide_color}: largest weights {[(s, round(w, 3)) for w, s in weights[:3]]}, "
          f"mask of {found[hide_color][1]} pixels, {found[hide_color][2]} of them on the bar of 200")

assert all(weight == 0 for weight, _ in found[None][0]) and found[None][1] == 0, "flat superpixels are now hidden"
assert {superpixel for _, superpixel in found[0][0][:2]} == {7, 8} and found[0][2] == 200
PYTHON
