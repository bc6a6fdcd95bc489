#!/usr/bin/env bash
# Expectation: rliable's get_interval_estimates(..., random_state=...) makes bootstrap intervals that one can make again.
# What happens: the argument is passed on, but the resampling draws from NumPy's global state: the same random_state gives
# another interval each time, and different ones give the same interval after the same np.random.seed(). (With arch 8 each
# call raises TypeError; with pandas 3 arch 7.2 cannot be imported: hence the two pins.)
# Why it matters: intervals of agents' scores in a paper cannot be made again from the seed that its code names.
# Instead: np.random.seed() before each call, and say so; or bootstrap over runs with a Generator of your own.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check rliable==1.2.0 arch==7.2.0 pandas==2.3.3

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

warnings.filterwarnings("ignore")
print("rliable", version("rliable"), "arch", version("arch"))

scores = {"agent": np.random.default_rng(0).normal(size=(5, 8))}  # five runs on eight tasks


def interval(state):
    _, intervals = library.get_interval_estimates(
        scores, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=500, random_state=np.random.RandomState(state)
    )
    return intervals["agent"].ravel()


np.random.seed(7)
once, again = interval(1), interval(1)
print("random_state 1 twice:", once.round(4).tolist(), again.round(4).tolist())
np.random.seed(0)
one = interval(1)
np.random.seed(0)
two = interval(2)
print("random_state 1 and 2, each after np.random.seed(0):", one.round(4).tolist(), two.round(4).tolist())

assert not np.array_equal(once, again), "random_state has an effect now"
assert np.array_equal(one, two), "random_state has an effect now"
PYTHON
