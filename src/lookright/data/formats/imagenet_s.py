"""ImageNet-S: `train-semi` and `validation`, and in folders of the same name with `-segmentation` PNGs of ids.

An id is R + 256·G: the place of a class among the sorted folders, from 1. 0 is any other thing, and 1000 is ignored.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from lookright.data.formats.annotated import Annotated, Format
from lookright.errors import InputError

SPLITS = {"train-semi": "train", "validation": "val"}
IGNORED = 1000


def read(folder: Path) -> Iterator[Annotated]:
    """The images that have a mask, in folders of classes; all classes of the subset must be there, as ids count them.

    Raises:
        InputError: a mask marks classes and not its own, or has no image.
    """
    for name, split in SPLITS.items():
        masks = folder / f"{name}-segmentation"
        classes = sorted(place.name for place in masks.glob("[!.]*") if place.is_dir())
        for rank, wnid in enumerate(classes, 1):
            for path in sorted((masks / wnid).glob("[!.]*.png")):
                image = next((folder / name / wnid).glob(f"{path.stem}.*"), None)
                if image is None:
                    raise InputError(f"No image of {str(path)!r} in {str(folder / name / wnid)!r}.")
                with Image.open(path) as mask:
                    ids = np.array(mask.convert("RGB")).astype(int) @ (1, 256, 0)
                found = set(np.unique(ids).tolist()) - {0, IGNORED}
                if found and rank not in found:
                    raise InputError(
                        f"{str(path)!r} marks the class {min(found)}, and {wnid} is number {rank} of {len(classes)} "
                        "folders. Expected all folders of ImageNet-S, whose order gives the numbers."
                    )
                ignore = ids == IGNORED
                yield Annotated(image, {wnid: ids == rank}, ignore if ignore.any() else None, wnid, split)


FORMAT = Format(
    "imagenet_s",
    "a folder such as ImageNetS50 with validation and validation-segmentation",
    lambda path: any((path / f"{name}-segmentation").is_dir() for name in SPLITS),
    read,
)
