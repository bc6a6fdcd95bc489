"""Folders of classes in which masks lie beside their images, told apart by what their names end with.

`benign (1).png` has the masks `benign (1)_mask.png` and `benign (1)_mask_1.png` (BUSI); ISIC ends them with
`_segmentation`. A tree of masks of the same shape may also lie apart, as `masks/` beside `images/`. The mask of an
image may be empty, which is information: nothing here is evidence.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.data.formats.annotated import Annotated, Format
from lookright.data.images import read_mask
from lookright.data.masks import Encoding
from lookright.errors import InputError

MASK = re.compile(r"^(?P<image>.+?)_(mask|segmentation|seg|gt|label)(_\d+)?$", re.IGNORECASE)
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder `[split/]class/image`, each with the union of its masks.

    Raises:
        InputError: a mask cannot be read, or belongs to no image.
    """
    images, masks = _sorted_out(folder)
    for place, files in masks.items():
        if place not in images:
            raise InputError(f"Mask {str(files[0])!r} belongs to no image; expected {place.name!r} beside it.")
    for place, image in images.items():
        *outer, label = place.parent.parts
        split = SPLITS.get(outer[0].lower()) if outer else None
        files = masks.get(place, [])
        if not files:
            yield Annotated(image, label=label, split=split)
            continue
        mask = read_mask(files, Encoding())
        ignore = mask[1].numpy() > 0 if len(mask) == 2 else None
        yield Annotated(image, {label: mask[0].numpy() >= 0.5}, ignore, label=label, split=split)


def _sorted_out(folder: Path) -> tuple[dict[Path, Path], dict[Path, list[Path]]]:
    """Images and their masks, by the image's place in the tree without a suffix."""
    images: dict[Path, Path] = {}
    masks: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.suffix.lower() not in IMG_EXTENSIONS or any(part.startswith(".") for part in place.parts):
            continue
        found = MASK.match(path.stem)
        if place.parts[0].lower() in ("masks", "segmentations"):
            masks[Path(*place.parent.parts[1:], found["image"] if found else path.stem)].append(path)
        elif found:
            masks[place.with_name(found["image"])].append(path)
        else:
            inner = place.parts[1:] if place.parts[0].lower() == "images" else place.parts
            if len(inner) < 2:
                raise InputError(f"Image {str(path)!r} lies in no folder of a class; expected class/image.")
            images[Path(*inner).with_suffix("")] = path
    return images, masks


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    try:
        images, masks = _sorted_out(path)
    except InputError:
        return False
    return bool(images) and bool(masks) and set(masks) <= set(images)


FORMAT = Format(
    "suffixes", "a folder of classes with masks beside the images (_mask, _mask_1, _segmentation)", _recognises, read
)
