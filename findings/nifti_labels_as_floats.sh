#!/usr/bin/env bash
# Expectation: a label map of whole numbers, saved by nibabel with data type uint8, comes back with these numbers.
# What happens: if the array was a float one (as get_fdata() gives it), set_data_dtype(uint8) does not cast: nibabel stretches
# 0 to the largest label over 0 to 255 and stores the factor. 2 comes back as 2.0039, 3 as 2.9922; the header says uint8.
# Why it matters: `labels == 3` finds nothing, and astype(int) makes 2 of it, so that one organ becomes another. SimpleITK
# reads the same floats. What comes back hangs on which labels a scan happens to have: 0 and 1 alone nearly survive.
# Instead: `Nifti1Image(labels.astype(np.uint8), affine)`, or np.asanyarray(image.dataobj); read others' files with np.rint.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import nibabel as nib
import numpy as np
import SimpleITK as sitk

print(*(f"{name} {version(name)}" for name in ("nibabel", "SimpleITK", "numpy")))

labels = np.zeros((8, 6, 4))  # float64, as get_fdata() gives it
for number in (1, 2, 3, 4, 7):
    labels[number] = number
image = nib.Nifti1Image(labels, np.eye(4))
image.set_data_dtype(np.uint8)
nib.save(image, "labels.nii.gz")

read = nib.load("labels.nii.gz")
values = read.get_fdata()
print("saved: ", np.unique(labels).tolist())
print("loaded:", np.unique(values).round(5).tolist(), "with data type", read.get_data_dtype())
by_sitk = sitk.GetArrayFromImage(sitk.ReadImage("labels.nii.gz"))
print("SimpleITK:", np.unique(by_sitk).round(5).tolist(), by_sitk.dtype)
for number in (2, 3):
    print(f"label {number}: {(labels == number).sum()} voxels saved, {(values == number).sum()} equal to {number} after loading, "
          f"{(values.astype(int) == number).sum()} after astype(int), {(np.rint(values) == number).sum()} after rint")

nib.save(nib.Nifti1Image(labels.astype(np.uint8), np.eye(4)), "cast.nii.gz")
print("cast first:", np.unique(nib.load("cast.nii.gz").get_fdata()).tolist())

assert (values == 3).sum() == 0 and (values.astype(int) == 2).sum() == 2 * (labels == 2).sum()
assert (np.rint(values) == labels).all() and not (np.rint(by_sitk) == by_sitk).all()
assert (nib.load("cast.nii.gz").get_fdata() == labels).all()
PYTHON
