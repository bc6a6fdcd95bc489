"""Folders of classes in which masks lie beside their images, told apart by what their names end with.

`benign (1).png` has the masks `benign (1)_mask.png` and `benign (1)_mask_1.png` (BUSI); ISIC ends them with
`_segmentation`. A tree of masks of the same shape may also lie apart, as `masks/` beside `images/`. The mask of an
image may be empty, which is information: nothing here is evidence. Each page of a TIFF of several pages is an image;
its mask has as many.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped
from PIL import ImageSequence
from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.data.encoding import Encoding
from lookright.data.formats.annotated import Annotated, Format, require_size
from lookright.data.images import opened, read_mask, read_mask_pages
from lookright.data.masks import united
from lookright.errors import InputError

MASK = re.compile(r"^(?P<image>.+?)_(mask|segmentation|seg|gt|label)(_\d+)?$", re.IGNORECASE)
MASK_FOLDERS = ("masks", "segmentations")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder `[split/]class/image`, each with the union of its masks.

    Raises:
        InputError: a mask cannot be read, or belongs to no image.
    """
    for image, files, label, split in masked_images(folder, IMG_EXTENSIONS):
        pages = tiff_pages(image)
        if len(pages) > 1:
            yield from _of_pages(image, pages, files, label, split)
        elif not files:
            yield Annotated(image, label=label, split=split)
        else:
            evidence, ignore = _planes(read_mask(files, Encoding()).numpy())
            yield Annotated(image, {label: evidence}, ignore, label, split)


def masked_images(folder: Path, endings: Sequence[str]) -> Iterator[tuple[Path, list[Path], str, str | None]]:
    """Each image of a folder `[split/]class/image`, its masks, its label and its split.

    Raises:
        InputError: a mask belongs to no image.
    """
    images, masks = _sorted_out(folder, endings)
    for place, files in masks.items():
        if place not in images:
            raise InputError(f"Mask {str(files[0])!r} belongs to no image; expected {place.name!r} beside it.")
    for place, image in images.items():
        *outer, label = place.parent.parts
        yield image, masks.get(place, []), label, SPLITS.get(outer[0].lower()) if outer else None


def looks_like(folder: Path, endings: Sequence[str]) -> bool:
    """Whether a folder has images in folders of classes, and masks that belong to them."""
    if not folder.is_dir():
        return False
    try:
        images, masks = _sorted_out(folder, endings)
    except InputError:
        return False
    return bool(images) and bool(masks) and set(masks) <= set(images)


def tiff_pages(path: Path) -> list[Shaped[np.ndarray, "H W *C"]]:
    """The pages of a TIFF of several, of 8 or 16 bits; nothing of any other file.

    Raises:
        InputError: pages of floats.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return []
    with opened(path) as image:
        number = getattr(image, "n_frames", 1)
        if number < 2:
            return []
        require_size(number, image.width * image.height)
        pages = []
        for page in ImageSequence.Iterator(image):
            if page.mode == "F":
                raise InputError(f"{str(path)!r} has pages of floats; expected 8 or 16 bits.")
            deep = page.mode.startswith("I")
            pages.append(np.array(page).astype(np.uint16) if deep else np.array(page.convert("RGB")))
        return pages


def _of_pages(
    image: Path, pages: list[np.ndarray], files: list[Path], label: str, split: str | None
) -> Iterator[Annotated]:
    masks = [read_mask_pages(file) for file in files]
    for file, found in zip(files, masks, strict=True):
        if len(found) != len(pages):
            raise InputError(f"{str(file)!r} has {len(found)} pages and its image {len(pages)}; expected as many.")
    for number, pixels in enumerate(pages):
        one = Annotated(image.with_name(f"{image.stem}-{number + 1}.png"), label=label, split=split, pixels=pixels)
        if masks:
            evidence, ignore = _planes(united([found[number] for found in masks]))
            one = replace(one, marked={label: evidence}, ignore=ignore)
        yield one


def _planes(mask: Float[np.ndarray, "P H W"]) -> tuple[Shaped[np.ndarray, "H W"], Bool[np.ndarray, "H W"] | None]:
    return mask[0] >= 0.5, mask[1] > 0 if len(mask) == 2 else None


def _sorted_out(folder: Path, endings: Sequence[str]) -> tuple[dict[Path, Path], dict[Path, list[Path]]]:
    """Images and their masks, by the image's place in the tree without its ending."""
    images: dict[Path, Path] = {}
    masks: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        ending = next((each for each in endings if path.name.lower().endswith(each)), None)
        if ending is None or any(part.startswith(".") for part in place.parts):
            continue
        stem = path.name[: -len(ending)]
        found = MASK.match(stem)
        if place.parts[0].lower() in MASK_FOLDERS:
            masks[Path(*place.parent.parts[1:], found["image"] if found else stem)].append(path)
        elif found:
            masks[place.with_name(found["image"])].append(path)
        else:
            inner = place.parts[1:] if place.parts[0].lower() == "images" else place.parts
            if len(inner) < 2:
                raise InputError(f"Image {str(path)!r} lies in no folder of a class; expected class/image.")
            images[Path(*inner).with_name(stem)] = path
    return images, masks


FORMAT = Format(
    "suffixes",
    "a folder of classes with masks beside the images (_mask, _mask_1, _segmentation)",
    lambda path: looks_like(path, IMG_EXTENSIONS),
    read,
)
