"""COCO: one JSON file of images, categories and annotations, beside its images.

A segmentation is a list of polygons or a run-length encoding, compressed or not, column by column, on a canvas of
[height, width]. Crowds (`iscrowd`) are regions with objects that nobody told apart: they are ignored.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lookright.data.formats.annotated import Annotated, Format, rectangle, require_size, runs, union, within
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
        yield Annotated(within(path.parent, image["file_name"]), marked, ignore if ignore.any() else None)


def _mask(annotation: dict, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    segmentation = annotation.get("segmentation")
    if not segmentation:  # of detection sets, and of strokes too thin for a polygon
        x, y, box_width, box_height = annotation["bbox"]
        return rectangle(x, y, x + box_width, y + box_height, height, width)
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
        _require_canvas(segmentation, height, width)
        return runs(segmentation["counts"], height * width).reshape(width, height).T
    from pycocotools import mask as coco

    if isinstance(segmentation, dict):
        _require_canvas(segmentation, height, width)
        return coco.decode(segmentation).astype(bool)
    return coco.decode(coco.merge(coco.frPyObjects(segmentation, height, width))).astype(bool)


def _require_canvas(segmentation: dict, height: int, width: int) -> None:
    if list(segmentation["size"]) != [height, width]:
        raise InputError(f"A segmentation of size {segmentation['size']}; its image has [{height}, {width}].")


FORMAT = Format(
    "coco",
    "a JSON file of COCO (instances) beside its images",
    lambda path: path.suffix == ".json" and is_json_with(path, KEYS),
    read,
)
