"""Data sets in memory whose items have an image, a label and perhaps a mask: Hugging Face `datasets`, and torch's.

A folder that `Dataset.save_to_disk` wrote is read likewise; its splits are kept.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt
from PIL import Image

from lookright.data.encoding import Encoding, find_encoding
from lookright.data.formats.annotated import Annotated, Format
from lookright.data.mask_pixels import Pixels, pixels_of
from lookright.data.masks import planes, shares
from lookright.errors import InputError

LOOKED_AT = 32
SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
NAMES = {
    "image": ("image", "img", "pixel_values"),
    "label": ("label", "labels", "class"),
    "mask": ("mask", "segmentation", "segmentation_mask", "annotation", "seg"),
}
"""Under which names items have what is looked for, the first that is there."""


def annotated_items(
    data: Any, classes: Sequence[str] | None = None, split: str | None = None, encoding: Encoding | None = None
) -> Iterator[Annotated]:
    """What a data set gives, for `lookright.data.convert.write_folder`.

    Args:
        data: with a length; an item is a dict with `image`, `label` and perhaps `mask`, or a tuple of these. An image
            is one of PIL, bytes (H, W, C), or a tensor (C, H, W) of bytes or in [0, 1]; so is a mask, with one channel
            or none.
        classes: the name of each label; None: those of the data set, or the labels themselves.
        split: of all items.
        encoding: what masks mean; None: found out from some of them.

    Raises:
        InputError: an item that is none of these, or masks whose meaning cannot be decided.
    """
    columns = _columns(data[0]) if len(data) else {}
    classes = classes or _classes(data, columns)
    encoding = encoding or _encoding(data, columns)
    for number in range(len(data)):
        item = data[number]
        label = item[columns["label"]]
        name = str(classes[int(label)] if classes else label)
        marked: dict[str, np.ndarray] = {}
        ignore = None
        mask = item[columns["mask"]] if "mask" in columns else None
        if mask is not None:
            pixels = _mask(mask, f"mask {number}", encoding)
            found = shares(planes(pixels, encoding.kind(pixels, f"mask {number}"), f"mask {number}"))
            marked, ignore = {name: found[0]}, found[1] > 0 if len(found) == 2 else None
        image = Path(f"{split or 'item'}-{number}.png")
        yield Annotated(image, marked, ignore, name, split, pixels=_picture(item[columns["image"]], number))


def _columns(item: Any) -> dict[str, Any]:
    if isinstance(item, tuple | list):
        if not 2 <= len(item) <= 3:
            raise InputError(f"An item of {len(item)} parts; expected image and label, or image, label and mask.")
        return dict(zip(("image", "label", "mask"), range(len(item)), strict=False))
    if not isinstance(item, dict):
        raise InputError(f"An item is a {type(item).__name__}; expected a dict or a tuple of image, label and mask.")
    found = {what: next((name for name in names if name in item), None) for what, names in NAMES.items()}
    for what in ("image", "label"):
        if found[what] is None:
            raise InputError(
                f"Items have {', '.join(map(str, item))} and no {what}; expected {' or '.join(NAMES[what])}."
            )
    return {what: name for what, name in found.items() if name is not None}


def _classes(data: Any, columns: dict[str, Any]) -> Sequence[str] | None:
    feature = getattr(data, "features", {}).get(columns.get("label")) if hasattr(data, "features") else None
    return getattr(feature, "names", None) or getattr(data, "classes", None)


def _encoding(data: Any, columns: dict[str, Any]) -> Encoding:
    if "mask" not in columns:
        return Encoding()
    places = np.unique(np.linspace(0, len(data) - 1, min(LOOKED_AT, len(data))).round().astype(int)).tolist()
    masks = [(number, data[number][columns["mask"]]) for number in places]
    return find_encoding(
        Encoding(),
        [(f"mask {number}", _mask(mask, f"mask {number}", Encoding())) for number, mask in masks if mask is not None],
    )


def _mask(mask: Any, name: str, encoding: Encoding) -> Pixels:
    if isinstance(mask, Image.Image):
        return pixels_of(mask, name, encoding.channel)
    values = _array(mask)
    if values.dtype == bool:
        return Pixels("luminance", values.astype(np.uint8) * 255, 255)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        raise InputError(f"{name} has the shape {values.shape}; expected (H, W) or (1, H, W).")
    top = 1 if np.issubdtype(values.dtype, np.floating) else 255 if values.max(initial=0) < 256 else 65535
    return Pixels("luminance", values, top)


def _picture(image: Any, number: int) -> UInt[np.ndarray, "H W *C"]:
    """Bytes, or 16 bits of a grey image that has them."""
    if isinstance(image, Image.Image) and image.mode != "F" and not image.mode.startswith("I"):
        image = image.convert("RGB")
    values = _array(image)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    low, high = values.min(initial=0), values.max(initial=0)
    if np.issubdtype(values.dtype, np.floating):
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"Image {number} has values from {low:g} to {high:g}; expected bytes, or floats in [0, 1] before they "
                "are normalised."
            )
        return (values * 255).round().astype(np.uint8)
    if values.ndim == 2 and values.dtype != np.uint8 and 0 <= low <= high <= 65535:
        return values.astype(np.uint16)
    if values.ndim not in (2, 3) or values.dtype != np.uint8:
        raise InputError(
            f"Image {number} is {values.dtype} of shape {values.shape}; expected bytes (H, W, 3) or (3, H, W)."
        )
    return values


def _array(values: Any) -> Shaped[np.ndarray, "..."]:
    return np.asarray(values.numpy(force=True) if hasattr(values, "numpy") else values)


def read(folder: Path) -> Iterator[Annotated]:
    """The items of a folder that `save_to_disk` of `datasets` wrote.

    Raises:
        InputError: it cannot be read, or as `annotated_items`.
    """
    try:
        import datasets
    except ImportError:
        raise InputError("This folder needs the package datasets: pip install 'lookright[datasets]'.") from None
    found = datasets.load_from_disk(str(folder))
    if isinstance(found, datasets.DatasetDict):
        for name, part in found.items():
            yield from annotated_items(part, split=SPLITS.get(name, name))
    else:
        yield from annotated_items(found)


FORMAT = Format(
    "huggingface",
    "a folder written by save_to_disk of Hugging Face datasets",
    lambda path: (
        (path / "dataset_dict.json").is_file()
        or ((path / "state.json").is_file() and (path / "dataset_info.json").is_file())
    ),
    read,
)
