#!/usr/bin/env bash
# Expectation: a boolean mask that tifffile or imageio wrote as a TIFF means the same to Pillow.
# What happens: tifffile marks boolean images as "min is white" and keeps the bits; tifffile and imageio ignore that mark when
# they read, Pillow and SimpleITK follow it. So the lesion is inside for two of them and outside for the other two, also
# within imageio, whose plugin="pillow" reads the opposite of its default.
# Why it matters: evidence and background change places without an error, and a loss on masks then teaches the wrong region.
# Instead: write uint8 (0 and 255), or imwrite(..., photometric="minisblack"); look at one picture with its mask before training.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check tifffile==2026.3.3 imageio==2.38.1 Pillow==13.0.0 SimpleITK==2.5.7 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import imageio.v3 as iio
import numpy as np
import SimpleITK as sitk
import tifffile
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("tifffile", "imageio", "Pillow", "SimpleITK")))

mask = np.zeros((20, 30), bool)
mask[5:12, 10:18] = True
tifffile.imwrite("tifffile.tif", mask)
iio.imwrite("imageio.tif", mask)
tifffile.imwrite("minisblack.tif", mask, photometric="minisblack")
tifffile.imwrite("uint8.tif", mask.astype(np.uint8) * 255)


def by_sitk(path):
    read = sitk.GetArrayFromImage(sitk.ReadImage(path))
    return read[..., 0] if read.ndim == 3 else read  # it reads a boolean TIFF as colours


readers = {
    "tifffile": tifffile.imread,
    "imageio": iio.imread,
    "imageio's pillow": lambda path: iio.imread(path, plugin="pillow"),
    "Pillow": lambda path: np.array(Image.open(path)),
    "SimpleITK": by_sitk,
}
print("inside the mask:", int(mask.sum()), "of", mask.size)
inside = {}
for path in ("tifffile.tif", "imageio.tif", "minisblack.tif", "uint8.tif"):
    inside[path] = {name: int((read(path) > 0).sum()) for name, read in readers.items()}
    print(path, inside[path])

for path in ("tifffile.tif", "imageio.tif"):
    assert list(inside[path].values()) == [56, 56, 544, 544, 544], "boolean TIFFs are now read alike"
for path in ("minisblack.tif", "uint8.tif"):
    assert set(inside[path].values()) == {56}
PYTHON
