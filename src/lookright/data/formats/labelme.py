"""LabelMe: a JSON file beside each image, with shapes."""

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from lookright.data.formats.annotated import Annotated, Format, polygon, require_size, union, within
from lookright.data.formats.json_file import is_json_with, read_json
from lookright.errors import InputError

KEYS = ("shapes", "imagePath", "imageHeight", "imageWidth")


def read(folder: Path) -> Iterator[Annotated]:
    """The annotated images of a folder.

    Raises:
        InputError: a shape of unknown type, or a missing image.
    """
    for path in sorted(folder.glob("[!.]*.json")):
        content = read_json(path, KEYS)
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        require_size(height, width)
        marked: dict[str, np.ndarray] = {}
        for shape in content["shapes"]:
            marked = union(marked, str(shape["label"]), _mask(shape, height, width, path))
        yield Annotated(within(folder, content["imagePath"]), marked)


def _mask(shape: dict, height: int, width: int, path: Path) -> Bool[np.ndarray, "H W"]:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    kind = shape.get("shape_type") or "polygon"
    if kind == "polygon":
        return polygon(points, height, width)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], height, width)
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points
        rows, columns = np.mgrid[:height, :width]
        return (columns - x) ** 2 + (rows - y) ** 2 <= math.dist((x, y), (edge_x, edge_y)) ** 2
    if kind == "mask":  # a PNG of the crop; its box includes both corners
        (left, top), _ = ((round(x), round(y)) for x, y in points)
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            crop = np.array(image) > 0
        mask = np.zeros((height, width), bool)
        if left < 0 or top < 0 or top + crop.shape[0] > height or left + crop.shape[1] > width:
            raise InputError(f"A mask in {str(path)!r} reaches out of its image of {width} by {height} pixels.")
        mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        return mask
    raise InputError(f"A shape {kind!r} in {str(path)!r}; expected polygon, rectangle, circle or mask.")


FORMAT = Format(
    "labelme",
    "a folder of images, each with a JSON file of LabelMe beside it",
    lambda path: path.is_dir() and any(is_json_with(file, KEYS) for file in sorted(path.glob("[!.]*.json"))[:1]),
    read,
)
