#!/usr/bin/env bash
# Expectation: torchmetrics' BinaryAUROC of a set of scores is one number, however the set is cut into batches, and depends on
# their order alone.
# What happens: each update() asks whether its batch has a value outside 0 to 1, and only then takes the sigmoid of it. A batch
# that happens to lie inside stays raw, beside others that were squeezed; in float32 the sigmoid of all scores above 17 is 1, so
# that they are tied.
# Why it matters: energies, distances and logits, as open-set recognition takes them, get another score with another batch size,
# and 0.5 where they separate perfectly.
# Instead: rank the scores over the whole set first (or map them to 0..1 yourself), or use scikit-learn's roc_auc_score.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import torch
from torchmetrics.classification import BinaryAUROC

print("torchmetrics", version("torchmetrics"), "torch", version("torch"))


def auroc(scores, unknown, size):
    metric = BinaryAUROC()
    for start in range(0, len(scores), size):
        metric.update(scores[start:start + size], unknown[start:start + size])
    return round(float(metric.compute()), 3)


# Perfectly separated: the unknown images have the higher scores.
scores = torch.tensor([0.6, 0.7, -1.0, 0.5])
unknown = torch.tensor([1, 1, 0, 0])
by_size = {size: auroc(scores, unknown, size) for size in (4, 2)}
print("unknown 0.6, 0.7, known -1, 0.5:", {f"batches of {size}": value for size, value in by_size.items()})

large = torch.tensor([18.0, 19.0, 20.0, 21.0])
tied = auroc(large, torch.tensor([0, 0, 1, 1]), 4)
print("scores 18, 19 | 20, 21:", tied, "in float64:", auroc(large.double(), torch.tensor([0, 0, 1, 1]), 4))

assert by_size == {4: 1, 2: 0.75}, "batches are now treated alike"
assert tied == 0.5
PYTHON
