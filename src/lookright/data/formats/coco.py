"""COCO: one JSON file of images, categories and annotations, beside its images.

A segmentation is a list of polygons or a run-length encoding, compressed or not, column by column, on a canvas of
[height, width]. Crowds (`iscrowd`) are regions with objects that nobody told apart: they are ignored. What is written
has two more keys for an image, `label` and `split`, which other tools pass over.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lookright.data.formats.annotated import (
    Annotated,
    Format,
    rectangle,
    require_coordinates,
    require_size,
    run_counts,
    runs,
    union,
    within,
)
from lookright.data.formats.exported import Writer, exported
from lookright.data.formats.json_file import is_json_with, read_json
from lookright.errors import InputError

KEYS = ("images", "annotations", "categories")


def read(path: Path) -> Iterator[Annotated]:
    """The images of a file of annotations; their files lie beside it, in `images`, or one folder up.

    Raises:
        InputError: no such file, or it is none of COCO.
    """
    content = read_json(path, KEYS)
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    of_image: dict[Any, list[dict]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        height, width = int(image["height"]), int(image["width"])
        require_size(height, width)
        marked: dict[str, np.ndarray] = {}
        ignore = np.zeros((height, width), bool)
        for annotation in of_image[image["id"]]:
            mask = _mask(annotation, height, width)
            if annotation.get("iscrowd"):
                ignore |= mask
            else:
                marked = union(marked, names[annotation["category_id"]], mask)
        yield Annotated(
            within(path.parent, image["file_name"]),
            marked,
            ignore if ignore.any() else None,
            image.get("label"),
            image.get("split"),
        )


def _mask(annotation: dict, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise InputError(f"A segmentation of size {segmentation['size']}; its image has [{height}, {width}].")
        counts = segmentation["counts"]
        counts = counts if isinstance(counts, list) else run_lengths(counts)
        return runs(counts, height * width).reshape(width, height).T
    polygons = [points for points in segmentation or () if len(points) >= 6]
    if not polygons:  # of detection sets, and of strokes too thin for a polygon
        x, y, box_width, box_height = annotation["bbox"]
        return rectangle(x, y, x + box_width, y + box_height, height, width)
    for points in polygons:
        require_coordinates(points)
    from pycocotools import mask as coco

    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


def run_lengths(packed: str) -> list[int]:
    """The run lengths in a compressed string.

    Each is a number of digits of five bits, the lowest first, with a sixth bit where more follow and the fifth of the
    last as its sign; from the fourth on it is the difference to the one before last.

    Raises:
        InputError: a number is larger than any image.

    >>> run_lengths("T32j2Z3")
    [100, 2, 90, 108]
    """
    counts: list[int] = []
    value = place = 0
    for character in packed:
        digit = ord(character) - 48
        value |= (digit & 31) << place
        place += 5
        if digit & 32:
            if place > 40:
                raise InputError("A compressed segmentation is damaged; export it again.")
            continue
        if digit & 16:
            value -= 1 << place
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = place = 0
    return counts


def packed(counts: list[int]) -> str:
    """Run lengths as a compressed string: what `run_lengths` undoes.

    >>> packed([100, 2, 90, 108])
    'T32j2Z3'
    """
    characters = []
    for place, count in enumerate(counts):
        value, more = count - counts[place - 2] if place > 2 else count, True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            characters.append(chr(48 + digit + 32 * more))
    return "".join(characters)


def write(images: Iterable[Annotated], root: Path) -> dict[str, str]:
    """A file of instances: an image's evidence under its label, what is ignored as a crowd of it."""
    content: dict[str, list[dict]] = {key: [] for key in KEYS}
    numbers: dict[str, int] = {}
    for one in exported(images, root):
        number, kind = len(content["images"]) + 1, numbers.setdefault(one.label, len(numbers) + 1)
        entry = {"id": number, "file_name": one.name, "width": one.width, "height": one.height, "label": one.label}
        content["images"].append(entry | ({"split": one.split} if one.split else {}))
        for crowd, mask in enumerate((one.evidence, one.ignore)):
            if mask is not None:
                entry = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": kind}
                content["annotations"].append(entry | _region(mask) | {"iscrowd": crowd})
    content["categories"] = [{"id": number, "name": name} for name, number in numbers.items()]
    return {".json": json.dumps(content)}


def _region(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    corner = [int(columns[0]), int(rows[0])] if mask.any() else [0, 0]
    extent = [int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1] if mask.any() else [0, 0]
    counts = packed(run_counts(mask.T.reshape(-1)))
    return {
        "segmentation": {"size": list(mask.shape), "counts": counts},
        "area": int(mask.sum()),
        "bbox": corner + extent,
    }


FORMAT = Format(
    "coco",
    "a JSON file of COCO (instances) beside its images",
    lambda path: path.suffix == ".json" and is_json_with(path, KEYS),
    read,
)
WRITER = Writer("coco", "instances as compressed runs; what is ignored is a crowd", write)
