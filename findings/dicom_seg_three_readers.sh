#!/usr/bin/env bash
# Expectation: a DICOM SEG that highdicom wrote means the same to pydicom and SimpleITK.
# What happens: inside is 1 for pydicom and 255 for SimpleITK in a BINARY file; a FRACTIONAL 0.6 is 0.6 for highdicom and 153
# for the two others (of MaximumFractionalValue 255, which only highdicom divides by); the new LABELMAP type does not open in
# SimpleITK; nor do two organs of one slice, since SimpleITK takes the segments for a stack of slices without a distance.
# Why it matters: a threshold or a soft mask's weight that is right with one reader is wrong with the next.
# Instead: read with highdicom's get_pixels_by_source_instance(); else compare with 0, and divide a FRACTIONAL file's values.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check highdicom==0.28.2 pydicom==3.0.2 SimpleITK==2.5.7 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import highdicom as hd
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

warnings.filterwarnings("ignore")
sitk.ProcessObject.SetGlobalWarningDisplay(False)
print(*(f"{name} {version(name)}" for name in ("highdicom", "pydicom", "SimpleITK")))

scan = pydicom.dcmread(get_testdata_file("CT_small.dcm"))  # one slice, comes with pydicom
organ = np.zeros((1, scan.Rows, scan.Columns), np.uint8)
organ[0, 20:50, 30:61] = 1
organs = organ.copy()
organs[0, 30:40, 30:40] = 2
TYPES = hd.seg.SegmentationTypeValues


def described(number):
    return hd.seg.SegmentDescription(
        number, f"organ {number}", codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
    )


found = {}
for name, mask, kind, segments in [
    ("BINARY", organ, TYPES.BINARY, 1),
    ("FRACTIONAL, 0.6", organ * np.float32(0.6), TYPES.FRACTIONAL, 1),
    ("LABELMAP", organs, TYPES.LABELMAP, 2),
    ("BINARY of two segments", organs, TYPES.BINARY, 2),
]:
    hd.seg.Segmentation(
        [scan], mask, kind, [described(n + 1) for n in range(segments)], hd.UID(), 1, hd.UID(), 1, "m", "m", "1", "1"
    ).save_as("seg.dcm")
    by_highdicom = hd.seg.segread("seg.dcm").get_pixels_by_source_instance([scan.SOPInstanceUID])
    by_pydicom = pydicom.dcmread("seg.dcm").pixel_array
    try:
        by_sitk = np.unique(sitk.GetArrayFromImage(sitk.ReadImage("seg.dcm"))).tolist()
    except RuntimeError as error:
        by_sitk = "an error: " + str(error).strip().splitlines()[-1][:60]
    found[name] = by_sitk, by_pydicom.max().item(), round(by_highdicom.max().item(), 3)
    print(f"{name}: highdicom {np.unique(by_highdicom).round(3).tolist()}, pydicom {np.unique(by_pydicom).tolist()}, "
          f"SimpleITK {by_sitk}")

assert found["BINARY"] == ([0, 255], 1, 1)
assert found["FRACTIONAL, 0.6"] == ([0, 153], 153, 0.6)
assert isinstance(found["LABELMAP"][0], str) and isinstance(found["BINARY of two segments"][0], str)
PYTHON
