#!/usr/bin/env bash
# Expectation: pydicom's apply_windowing() with a soft tissue window gives a picture: 0 to 255, or 0 to 1.
# What happens: it stretches the window over everything that the file's bits could store, rescaled to Hounsfield units:
# −33792 to 31743 for a scan of −896 to 1167. highdicom windows the same scan to 0 to 1.
# Why it matters: `/ 255` gives −133 to 124, astype("uint8") wraps around, and what was trained on one library's pictures sees
# nothing in the other's.
# Instead: highdicom's get_frame(1, apply_voi_transform=True), or clip to centre ± width / 2 by hand.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check pydicom==3.0.2 highdicom==0.28.2 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import copy
from importlib.metadata import version

import highdicom as hd
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_rescale, apply_windowing

print(*(f"{name} {version(name)}" for name in ("pydicom", "highdicom")))

scan = pydicom.dcmread(get_testdata_file("CT_small.dcm"))  # comes with pydicom
scan.WindowCenter, scan.WindowWidth = 40, 400
hounsfield = apply_rescale(scan.pixel_array, scan)
by_pydicom = apply_windowing(hounsfield, scan)
by_highdicom = hd.Image.from_dataset(copy.deepcopy(scan)).get_frame(1, apply_voi_transform=True)
by_hand = np.clip((hounsfield - (40 - 200)) / 400, 0, 1)

for name, values in [("scan", hounsfield), ("pydicom's window", by_pydicom), ("highdicom's", by_highdicom), ("by hand", by_hand)]:
    print(f"{name}: {values.dtype} from {values.min():g} to {values.max():g}")
low, high = by_pydicom.min(), by_pydicom.max()
difference = np.abs((by_pydicom - low) / (high - low) - by_highdicom).max()
print(f"pydicom's, stretched to 0 to 1, is off highdicom's by at most {difference:.4f}")

assert (low, high) == (-33792, 31743), "pydicom's window has another range now"
assert (by_highdicom.min(), by_highdicom.max()) == (0, 1)
assert difference < 0.01
PYTHON
