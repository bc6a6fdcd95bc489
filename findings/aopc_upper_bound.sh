#!/usr/bin/env bash
# Expectation: aopc's exact bounds (Edin et al., ACL 2025) are the smallest and the largest mean fall of the probability over all
# orders in which features are removed.
# What happens: the search for the largest sum starts at 0. Where removing features raises the probability in every order, as of a
# class that the input speaks against, the upper bound is the last fall over the number of features, which no order attains.
# Why it matters: normalised scores of such inputs are too low, and the best order there is does not get 1.
# Instead: normalization="approx", whose beam search starts from nothing, and which finds the same as all orders for short inputs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check --no-deps aopc==0.1.0
venv/bin/pip install -qq --no-compile --disable-pip-version-check numba==0.68.1 numpy==2.4.6 pandas==3.1.1 torch==2.13.0

venv/bin/python - <<'PYTHON'
import importlib.util
import sys
from importlib.metadata import version
from itertools import permutations
from pathlib import Path

import pandas as pd

print("aopc", version("aopc"))
# The package itself imports datasets and transformers, which this needs nothing of.
place = next(Path(folder, "aopc/methods.py") for folder in sys.path if Path(folder, "aopc/methods.py").is_file())
spec = importlib.util.spec_from_file_location("methods", place)
methods = sys.modules["methods"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(methods)


def bounds(probability):
    """Theirs, and those of a loop over the orders of two features; `probability` without each subset."""
    table = pd.DataFrame([{"id": 0, "word_key": str(sorted(gone)), "pred": value} for gone, value in probability.items()])
    theirs = tuple(round(float(bound), 6) for bound in methods.get_bounds_from_permutations(table))
    whole = probability[()]
    falls = [
        sum(whole - probability[tuple(sorted(order[:count]))] for count in (1, 2)) / 2 for order in permutations((0, 1))
    ]
    return theirs, (round(min(falls), 6), round(max(falls), 6))


falling = bounds({(): 0.8, (0,): 0.7, (1,): 0.6, (0, 1): 0.5})
rising = bounds({(): 0.5, (0,): 0.6, (1,): 0.7, (0, 1): 0.8})
for name, (theirs, orders) in (("the probability falls", falling), ("it rises", rising)):
    print(f"{name}: bounds {theirs}, over all orders {orders}")

assert falling[0] == falling[1], "the bounds differ otherwise now"
assert rising[0] == (rising[1][0], -0.15) and rising[1] == (-0.25, -0.2), "the upper bound is another now"
PYTHON
